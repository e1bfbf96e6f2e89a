"""Collects datasets with discrete actions: scripted controllers of mixed quality."""

from __future__ import annotations

import os
import pathlib
from collections import deque
from collections.abc import Callable, Sequence

import gin
import gymnasium
import numpy as np

from idql_tf import files
from idql_tf.data import scores
from idql_tf.data.progress import slow_progress
from idql_tf.environments import factory, minari_writer
from idql_tf.environments.collected import Collected, save
from idql_tf.errors import UserError, check_count, check_number

_REFERENCE_EPISODES = 20


def _balance(observation: np.ndarray) -> int:
    """CartPole: pushes to the side on which cart and pole are about to be."""
    return int(observation @ np.array([0.02, 0.05, 1.0, 0.3]) > 0)


def _pump(observation: np.ndarray) -> int:
    """Acrobot: turns the second joint the way it turns, which adds energy."""
    return 2 if observation[5] > 0 else 0


def _land(observation: np.ndarray) -> int:
    """LunarLander: leans against its drift, falls the slower the lower it is."""
    x, y, x_speed, y_speed, angle, spin, *legs = observation
    if max(legs) > 0:
        return 2 if y_speed < -0.1 else 0
    turn = 0.5 * (np.clip(0.5 * x + x_speed, -0.4, 0.4) - angle) - spin
    lift = 0.5 * (0.55 * abs(x) - y - y_speed)
    if lift > max(abs(turn), 0.05):
        return 2
    return 0 if abs(turn) < 0.05 else 1 if turn > 0 else 3


CONTROLLERS: dict[str, Callable[[np.ndarray], int]] = {
    "CartPole-v1": _balance,
    "Acrobot-v1": _pump,
    "LunarLander-v3": _land,
}
# From random to good. Who reacts late is bad in a way of their own: if all erred at
# random, the likeliest action of the mixture would be the controller's everywhere.
_LEVELS = ((0, 1.0), (6, 0.3), (4, 0.3), (2, 0.3), (0, 0.3))


@gin.configurable(
    "collect_discrete", denylist=["env_id", "num_steps", "output", "seed"]
)
def collect(
    env_id: str,
    num_steps: int,
    output: str | os.PathLike[str],
    seed: int = 0,
    levels: Sequence[tuple[int, float]] = _LEVELS,
) -> Collected:
    """Writes a Minari dataset of a controller at several levels of quality.

    Each level gets about equally many steps. Only whole episodes are written, so there
    are at least `num_steps` transitions. Equal arguments give equal arrays.

    Args:
      env_id: one of `CONTROLLERS`.
      num_steps: transitions wanted.
      output: directory to create; its last two names become the dataset id.
      seed: non-negative; decides starts and random actions.
      levels: pairs of a delay, how many steps ago the controller saw what it reacts
        to, and the part of its actions that are random instead.

    Returns:
      What was written and where; scores of 0 and 100 are random actions and the
      undelayed controller, measured here.

    Raises:
      UserError: a level is none, or `output` is there and not an empty directory.
    """
    _check_levels(levels)
    spec, path = factory.parse_spec(env_id), pathlib.Path(output)
    with files.new_directory(path) as partial:
        env = factory.make(spec.to_json())
        reference = _measure(env, env_id, seed)
        taken = np.zeros(len(levels), np.int64)
        episodes: list[minari_writer.Episode] = []
        with slow_progress(f"collecting {env_id}", num_steps) as advance:
            while taken.sum() < num_steps:
                level = int(taken.argmin())
                rng = np.random.default_rng((seed, len(episodes)))
                episodes.append(run_episode(env, env_id, rng, *levels[level]))
                taken[level] += len(episodes[-1].actions)
                advance(len(episodes[-1].actions))
        env.close()
        metadata = {
            "algorithm_name": f"controller with delay and randomness of {levels}",
            "description": f"{env_id}, collected by idql_tf with seed {seed}",
        }
        space = env.action_space
        return save(partial, path, spec, episodes, reference, metadata, space)


def run_episode(
    env: gymnasium.Env,
    env_id: str,
    rng: np.random.Generator,
    delay: int = 0,
    random_part: float = 0.0,
) -> minari_writer.Episode:
    """Runs the controller of `env_id` for one episode.

    Args:
      env: the environment, with a time limit.
      env_id: of the controller.
      rng: source of the start and the random actions.
      delay: in steps; what it sees first is the start.
      random_part: of its actions.
    """
    reset_seed = int(rng.integers(2**31))
    observation, _ = env.reset(seed=reset_seed)
    observations, actions, rewards = [observation], [], []
    past = deque([observation] * (delay + 1), maxlen=delay + 1)
    terminated = truncated = False
    while not (terminated or truncated):
        action = CONTROLLERS[env_id](past[0])
        if rng.random() < random_part:
            action = int(rng.integers(env.action_space.n))
        observation, reward, terminated, truncated, _ = env.step(action)
        past.append(observation)
        observations.append(observation)
        actions.append(action)
        rewards.append(float(reward))
    last = np.arange(len(actions)) == len(actions) - 1
    return minari_writer.Episode(
        seed=reset_seed,
        observations=np.array(observations, np.float32),
        actions=np.array(actions, np.int64),
        rewards=np.array(rewards, np.float32),
        terminations=last & terminated,
        truncations=last & truncated,
    )


def _check_levels(levels: Sequence[tuple[int, float]]) -> None:
    try:
        pairs = [(delay, part) for delay, part in levels]
    except (TypeError, ValueError):
        pairs = []
    if not pairs:
        raise UserError(
            f"collect_discrete.levels is {levels!r:.60}; expected pairs of a delay and "
            "a random part, such as ((0, 1.0), (4, 0.3))"
        )
    for delay, part in pairs:
        check_count("a delay of collect_discrete.levels", delay, 0)
        check_number("a random part of collect_discrete.levels", part, most=1.0)


def _measure(env: gymnasium.Env, env_id: str, seed: int) -> scores.ScoreReference:
    """References by our own measurement: random actions, the controller."""

    def mean_return(random_part: float) -> float:
        rngs = [np.random.default_rng((seed, i, 0)) for i in range(_REFERENCE_EPISODES)]
        episodes = [run_episode(env, env_id, rng, 0, random_part) for rng in rngs]
        return float(np.mean([episode.rewards.sum() for episode in episodes]))

    low, high = mean_return(1.0), mean_return(0.0)
    source = f"measured in {_REFERENCE_EPISODES} episodes: random, the controller"
    return scores.ScoreReference(low, max(high, low + 1.0), source)
