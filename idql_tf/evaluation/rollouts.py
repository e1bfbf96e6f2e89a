"""Episodes of a stack of policies, many environments in lockstep."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from idql_tf.data import preprocessing
from idql_tf.data.transitions import DatasetInfo
from idql_tf.environments import factory
from idql_tf.errors import UserError, check_count

# Observations float32 [S, B, D] and the number of the lockstep -> actions as data
# store them, float32 [S, B, A]. B is the same in all calls of one evaluation.
Act = Callable[[np.ndarray, int], np.ndarray]

_LONGEST_EPISODE = 100_000


@dataclasses.dataclass(frozen=True)
class Episodes:
    """Outcome of E episodes for each of S seeds; episode e starts alike for all.

    Attributes:
      returns: undiscounted raw returns, float64 [S, E].
      lengths: steps, int64 [S, E].
      successes: 1 where the environment reported success in any step, 0 where it
        reported none, NaN where it does not tell; float64 [S, E].
      trajectories: x, y of `achieved_goal` from the start to the end of the first
        K episodes, NaN after it, float32 [S, K, L, 2]; None where the environment
        has no achieved goal.
    """

    returns: np.ndarray
    lengths: np.ndarray
    successes: np.ndarray
    trajectories: np.ndarray | None = None


def run_episodes(
    act: Act,
    info: DatasetInfo,
    num_seeds: int,
    episodes: int,
    evaluation_seed: int,
    max_parallel: int = 50,
    on_progress: Callable[[int, int], None] | None = None,
    num_trajectories: int = 5,
) -> Episodes:
    """Runs E episodes for each of S policies in the data's environment.

    Each seed of the stack has B = min(episodes, max_parallel) environments, which
    take the next episode as soon as they finish one, and stand still without
    being stepped when none is left. What a policy meets does not depend on the
    other seeds of the stack.

    Args:
      act: the policies; see `Act`.
      info: the dataset's record: environment, key order, action bounds.
      num_seeds: S.
      episodes: E, episodes per seed.
      evaluation_seed: decides, with the episode's number, how it starts.
      max_parallel: the largest B.
      on_progress: called with the episodes finished and S x E, as they finish.
      num_trajectories: K, episodes per seed whose positions are kept.

    Returns:
      The episodes' outcomes.

    Raises:
      UserError: there is no environment to evaluate in, it does not fit the
        data's observations or actions, or its episodes do not end.
      FloatingPointError: a policy gave a non-finite action.
    """
    check_count("num_seeds", num_seeds)
    check_count("episodes", episodes)
    check_count("max_parallel", max_parallel)
    batch = min(episodes, max_parallel)
    envs = _environments(_checked_spec(info), num_seeds * batch)
    _check_spaces(envs, info)
    shape = (num_seeds, batch, episodes)
    run = _Lockstep(envs, info, shape, evaluation_seed, num_trajectories)
    step = 0
    while run.running.any():
        actions = np.asarray(act(run.observations, step), np.float32)
        if actions.shape != (num_seeds, batch, info.action_size):
            raise ValueError(
                f"act gave actions {actions.shape}; expected "
                f"{(num_seeds, batch, info.action_size)}"
            )
        if not np.isfinite(actions[run.running]).all():
            raise FloatingPointError(
                f"the policy gave a non-finite action, step {step}"
            )
        finished = run.step(actions)
        if finished and on_progress:
            on_progress(run.finished, num_seeds * episodes)
        step += 1
    return Episodes(run.returns, run.lengths, run.successes, run.trajectories())


def check(info: DatasetInfo) -> None:
    """Checks, in one environment, that the data's policies can act in it.

    Raises:
      UserError: there is no environment, or it does not fit the data.
    """
    _check_spaces(_environments(_checked_spec(info), 1), info)


def episode_seed(evaluation_seed: int, episode: int) -> int:
    """The seed an episode's environment is reset with: one for all policies."""
    sequence = np.random.SeedSequence((evaluation_seed, episode))
    return int(sequence.generate_state(1)[0])


class _Slot(gymnasium.Wrapper):
    """One environment of the lockstep; costs nothing once it is parked.

    Attributes:
      parked: no episode is left: the last observation is repeated.
      success: 1 if a success was reported in this episode, 0 if only failures were, NaN
        if neither was.
    """

    parked = False
    success = float("nan")
    _observation: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if not self.parked:
            self._observation, _ = self.env.reset(seed=seed)
            self.success = float("nan")
        return self._observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.parked:
            return self._observation, 0.0, False, False, {}
        result = self.env.step(action)
        self._observation, reward, terminated, truncated, info = result
        success = info.get("success", info.get("is_success"))
        if success is not None:
            # Some environments count successes, or report a margin.
            told = np.clip(np.sign(float(success)), 0.0, 1.0)
            self.success = float(np.fmax(self.success, told))
        return self._observation, float(reward), terminated, truncated, {}


class _Lockstep:
    """S x B environments on their way through S x E episodes.

    Attributes:
      observations: what the policies see next, float32 [S, B, D].
      running: slots with an episode under way, bool [S, B].
      finished: episodes finished so far.
      returns, lengths, successes: as in `Episodes`.
    """

    def __init__(
        self,
        envs: SyncVectorEnv,
        info: DatasetInfo,
        shape: tuple[int, int, int],
        evaluation_seed: int,
        num_trajectories: int,
    ) -> None:
        """Starts the first B episodes of every seed; `shape` is (S, B, E)."""
        seeds, batch, self._episodes = shape
        self._envs, self._info = envs, info
        self._evaluation_seed = evaluation_seed
        self._num_trajectories = min(num_trajectories, self._episodes)
        self._episode = np.full((seeds, batch), -1)
        self._next_episode = np.zeros(seeds, np.int64)
        self._positions: list[tuple[np.ndarray, ...]] = []
        self.finished = 0
        self.returns = np.zeros((seeds, self._episodes))
        self.lengths = np.zeros((seeds, self._episodes), np.int64)
        self.successes = np.full((seeds, self._episodes), np.nan)
        for slot in envs.envs:
            slot.parked = False
        self._begin(np.ones((seeds, batch), bool))

    @property
    def running(self) -> np.ndarray:
        return self._episode >= 0

    def step(self, actions: np.ndarray) -> int:
        """Takes stored actions [S, B, A]; returns how many episodes finished."""
        taken = self._info.to_env_action(actions)
        flat = taken.reshape(-1, *taken.shape[2:])
        observation, rewards, terminated, truncated, _ = self._envs.step(flat)
        seed, slot = np.nonzero(self.running)
        episode = self._episode[seed, slot]
        self.returns[seed, episode] += rewards.reshape(self._episode.shape)[seed, slot]
        self.lengths[seed, episode] += 1
        self._see(observation, self.running)
        done = (terminated | truncated).reshape(self._episode.shape)
        for i, j in np.argwhere(done):
            success = self._envs.envs[i * done.shape[1] + j].success
            self.successes[i, self._episode[i, j]] = success
        if done.any():
            self.finished += int(done.sum())
            self._begin(done)
        elif self.lengths.max() >= _LONGEST_EPISODE:
            raise UserError(
                f"an episode did not end in {_LONGEST_EPISODE:,} steps; give the "
                "environment a time limit (max_episode_steps of its spec)"
            )
        return int(done.sum())

    def trajectories(self) -> np.ndarray | None:
        """Positions seen, float32 [S, K, L, 2], NaN after an episode's end."""
        if not self._positions:
            return None
        seed, episode, time, xy = map(
            np.concatenate, zip(*self._positions, strict=True)
        )
        count = (len(self.returns), self._num_trajectories, time.max() + 1, 2)
        paths = np.full(count, np.nan, np.float32)
        paths[seed, episode, time] = xy
        return paths

    def _begin(self, slots: np.ndarray) -> None:
        """Gives the next episode to each of the slots [S, B], or parks it."""
        reset_seeds: list[int | None] = [None] * slots.size
        for i, j in np.argwhere(slots):
            number = i * slots.shape[1] + j
            if self._next_episode[i] < self._episodes:
                self._episode[i, j] = self._next_episode[i]
                self._next_episode[i] += 1
                reset_seeds[number] = episode_seed(
                    self._evaluation_seed, int(self._episode[i, j])
                )
            else:
                self._episode[i, j] = -1
                self._envs.envs[number].parked = True
        observation, _ = self._envs.reset(
            seed=reset_seeds, options={"reset_mask": slots.ravel()}
        )
        self._see(observation, slots & self.running)

    def _see(self, observation: Any, slots: np.ndarray) -> None:
        """Flattens what the environments show and notes positions of slots [S, B]."""
        flat = preprocessing.flatten_observation(
            observation, self._info.observation_keys
        )
        self.observations = flat.reshape(*slots.shape, -1)
        if self._num_trajectories and _has_position(self._envs):
            xy = observation["achieved_goal"].reshape(*slots.shape, -1)[..., :2]
            seed, slot = np.nonzero(slots & (self._episode < self._num_trajectories))
            episode = self._episode[seed, slot]
            time = self.lengths[seed, episode]
            self._positions.append((seed, episode, time, xy[seed, slot]))


def _has_position(envs: SyncVectorEnv) -> bool:
    space = envs.single_observation_space
    return (
        isinstance(space, gymnasium.spaces.Dict)
        and "achieved_goal" in space.spaces
        and space["achieved_goal"].shape[0] >= 2
    )


@functools.lru_cache(maxsize=1)
def _environments(env_spec: str, count: int) -> SyncVectorEnv:
    # Kept from one evaluation to the next: building a maze takes 40 ms, and each
    # episode starts from its own seeded reset anyway.
    return SyncVectorEnv(
        [lambda: _Slot(factory.make(env_spec))] * count,
        autoreset_mode=AutoresetMode.DISABLED,
    )


def _checked_spec(info: DatasetInfo) -> str:
    if info.env_spec is None:
        raise UserError(
            f"{info.dataset} records no environment to evaluate in; name one with "
            "--env_id"
        )
    return info.env_spec


def _check_spaces(envs: SyncVectorEnv, info: DatasetInfo) -> None:
    observation, action = envs.single_observation_space, envs.single_action_space
    if info.observation_keys:
        found = list(getattr(observation, "spaces", {}))
        if not set(info.observation_keys) <= set(found):
            raise UserError(
                f"the environment's observation keys are {found}, the data's are "
                f"{list(info.observation_keys)}; evaluate in the data's environment"
            )
        parts = [observation[key] for key in info.observation_keys]
    else:
        parts = [observation]
    sizes = [int(np.prod(space.shape)) if space.shape else 0 for space in parts]
    if sum(sizes) != info.observation_size:
        raise UserError(
            f"the environment gives {sum(sizes)} numbers as observation, the data have "
            f"{info.observation_size}; evaluate in the data's environment"
        )
    if not _takes(action, info):
        kind = "choices" if info.discrete_actions else "dimensions"
        raise UserError(
            f"the environment's actions are {action}, the data's have "
            f"{info.action_size} {kind}; evaluate in the data's environment"
        )


def _takes(space: gymnasium.Space, info: DatasetInfo) -> bool:
    """Whether an action space is that of the data."""
    if isinstance(space, gymnasium.spaces.Discrete):
        bounds = (space.start,), (space.start + space.n - 1,)
        return info.discrete_actions and bounds == (info.action_low, info.action_high)
    return not info.discrete_actions and space.shape == (info.action_size,)
