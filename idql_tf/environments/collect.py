"""Collects datasets, so that nothing needs a download: maze2d here.

As D4RL's maze2d (Fu et al. 2020, arXiv 2004.07219): a controller wanders between
random cells of a point maze while the reward is paid for one fixed goal cell.
"""

from __future__ import annotations

import math
import os
import pathlib

import gin
import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from idql_tf import files
from idql_tf.data import scores
from idql_tf.data.progress import slow_progress
from idql_tf.environments import collect_discrete, factory, maze, minari_writer
from idql_tf.environments.collected import Collected, save
from idql_tf.errors import UserError, check_count

# D4RL's goal cells; its goal in other maps is the last free cell, row by row.
_D4RL_GOALS = {
    "PointMaze_UMaze": (1, 1),
    "PointMaze_Medium": (6, 6),
    "PointMaze_Large": (7, 9),
}
_REFERENCE_EPISODES = 20
_DEFAULT_TIME_LIMIT = 300

# Parts of a cell by which a leg's target lies off the centre. On each axis a third of
# the targets are 0.4 off, where the ball touches a wall if there is one. Where the
# data never rest, in a corner above all, Q is a guess, and a policy that slides there
# stays for good.
_SPREAD, _WALL = 0.6, 0.4
# Steps for which it rests at a target, at most: without rests the data never show
# that one can stay at the goal, and what V says of a body at rest is a guess.
_LONGEST_PAUSE = 60


@gin.configurable(denylist=["env_id", "num_steps", "output", "seed"])
def collect(
    env_id: str,
    num_steps: int,
    output: str | os.PathLike[str],
    seed: int = 0,
    noise: float = 0.3,
    goal_cell: tuple[int, int] | None = None,
) -> Collected:
    """Writes a Minari dataset of a wandering controller in a point maze.

    Episodes end by the environment's time limit alone, and only whole ones are
    written, so there are at least `num_steps` transitions. Equal arguments
    give equal arrays. Environments with discrete actions are left to
    `collect_discrete`, which has its own arguments in gin.

    Args:
      env_id: a `PointMaze_*` environment with the sparse reward, or one of
        `collect_discrete.CONTROLLERS`.
      num_steps: transitions wanted.
      output: directory to create; its last two names become the dataset id.
      seed: non-negative; decides starts, goals, targets and noise.
      noise: standard deviation of Gaussian noise on actions in [-1, 1].
      goal_cell: (row, column) that pays the reward; None for D4RL's.

    Returns:
      What was written and where.

    Raises:
      UserError: another environment, nothing to collect, a `noise` or `goal_cell`
        that is none, or `output` is there and not an empty directory.
    """
    check_count("num_steps", num_steps)
    check_count("seed", seed, 0)
    if env_id in collect_discrete.CONTROLLERS:
        return collect_discrete.collect(env_id, num_steps, output, seed)
    if type(noise) not in (int, float) or not 0 <= noise < math.inf:
        raise UserError(
            f"collect.noise is {noise!r}; expected a number from 0 up, such as 0.3"
        )
    spec, field = _task(env_id, goal_cell)
    path = pathlib.Path(output)
    with files.new_directory(path) as partial:
        env = factory.make(spec.to_json())
        reference = scores.reference_for(env_id, spec.kwargs) or _measure(
            env, field, seed
        )
        count = -(-num_steps // spec.max_episode_steps)
        episodes = []
        with slow_progress(f"collecting {env_id}", count) as advance:
            for number in range(count):
                rng = np.random.default_rng((seed, number))
                episodes.append(run_episode(env, field, rng, noise))
                advance(1)
        env.close()
        metadata = {
            "algorithm_name": f"shortest path, waypoints, gaussian noise {noise:g}",
            "description": f"random targets in {env_id}, sparse reward for the fixed "
            f"goal cell {field.goal_cells[0]}, collected by idql_tf with seed {seed}",
        }
        return save(partial, path, spec, episodes, reference, metadata)


def run_episode(
    env: gymnasium.Env,
    field: maze.Maze,
    rng: np.random.Generator,
    noise: float = 0.0,
    wander: bool = True,
) -> minari_writer.Episode:
    """Runs the waypoint controller for one episode, to the time limit.

    Args:
      env: a point maze with a time limit.
      field: its maze.
      rng: source of the start, the random targets and the noise.
      noise: standard deviation of the noise on actions.
      wander: between random points, resting at each; if not, straight to the goal.
    """
    reset_seed = int(rng.integers(2**31))
    observation, _ = env.reset(seed=reset_seed)
    controller = maze.WaypointController(field)
    if not wander:
        controller.set_target(observation["achieved_goal"], observation["desired_goal"])
    free = field.free_cells
    observations = [observation]
    actions: list[np.ndarray] = []
    rewards: list[float] = []
    terminated = truncated = False
    pause = 0
    while not (terminated or truncated):
        state = observation["observation"]
        arrived = wander and (not actions or controller.arrived(state))
        if arrived and pause > 0:
            pause -= 1
        elif arrived:
            pause = int(rng.integers(_LONGEST_PAUSE + 1))
            target = field.center(free[rng.integers(len(free))])
            # Anywhere but the middle line: a critic trained on data that only pass
            # through the cells' centres knows nothing of the rest of the maze.
            offset = np.clip(rng.uniform(-_SPREAD, _SPREAD, 2), -_WALL, _WALL)
            offset *= field.cell_size
            controller.set_target(state[:2], target + offset, offset)
        action = controller.act(state, noise * rng.standard_normal(2))
        actions.append(action.astype(np.float32))
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        observations.append(observation)
        rewards.append(float(reward))
    last = np.arange(len(actions)) == len(actions) - 1
    return minari_writer.Episode(
        seed=reset_seed,
        observations={
            key: np.array([step[key] for step in observations], np.float32)
            for key in sorted(observation)
        },
        actions=np.array(actions, np.float32),
        rewards=np.array(rewards, np.float32),
        terminations=last & terminated,
        truncations=last & truncated,
    )


def _task(env_id: str, goal_cell: tuple[int, int] | None) -> tuple[EnvSpec, maze.Maze]:
    """The environment with one fixed goal cell and sparse reward, and its maze."""
    name = scores.environment_name(env_id)
    if not name.startswith("PointMaze_") or name.endswith("Dense"):
        raise UserError(
            f"cannot collect in '{env_id}'; expected "
            f"{', '.join(collect_discrete.CONTROLLERS)} or a point maze with sparse "
            "reward: PointMaze_UMaze-v3, PointMaze_Medium-v3, PointMaze_Large-v3 or "
            "another PointMaze_* id without Dense"
        )
    spec = factory.parse_spec(env_id)
    field = maze.Maze(tuple(map(tuple, spec.kwargs["maze_map"])))
    if goal_cell is None:
        goal_cell = _D4RL_GOALS.get(name) or field.goal_cells[-1]
    free = field.free_cells
    goal = next((cell for cell in free if goal_cell in (cell, list(cell))), None)
    if goal is None:
        raise UserError(
            f"collect.goal_cell {goal_cell!r} of '{env_id}' is not a free cell; "
            f"expected one of {free}"
        )
    field = field.with_goal(goal)
    spec.max_episode_steps = spec.max_episode_steps or _DEFAULT_TIME_LIMIT
    spec.kwargs = {
        "maze_map": [list(row) for row in field.cells],
        "reward_type": "sparse",
        "continuing_task": True,
        "reset_target": False,
    }
    return spec, field


def _measure(env: gymnasium.Env, field: maze.Maze, seed: int) -> scores.ScoreReference:
    """References by our own measurement: random actions, straight to the goal."""
    random_returns, direct_returns = [], []
    for number in range(_REFERENCE_EPISODES):
        rng = np.random.default_rng((seed, number, 0))
        direct_returns.append(run_episode(env, field, rng, wander=False).rewards.sum())
        env.reset(seed=int(rng.integers(2**31)))
        total, done = 0.0, False
        while not done:
            _, reward, terminated, truncated, _ = env.step(rng.uniform(-1, 1, 2))
            total, done = total + float(reward), terminated or truncated
        random_returns.append(total)
    low, high = float(np.mean(random_returns)), float(np.mean(direct_returns))
    source = f"measured in {_REFERENCE_EPISODES} episodes: random, straight to the goal"
    return scores.ScoreReference(low, max(high, low + 1.0), source)
