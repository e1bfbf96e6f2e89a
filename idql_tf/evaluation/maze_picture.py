"""The data behind the picture of V over a maze: maze.npz of a run."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from idql_tf import files
from idql_tf.data import preprocessing
from idql_tf.data.transitions import DatasetInfo
from idql_tf.environments import factory, maze
from idql_tf.evaluation.rollouts import Episodes


@dataclasses.dataclass(frozen=True)
class MazePoints:
    """Where in a maze the value function is asked.

    Attributes:
      field: the maze.
      goal: goal position, float64 [2].
      x: grid of x, float64 [gx], ascending.
      y: grid of y, float64 [gy], ascending.
      free: grid points outside walls, bool [gy, gx]; P of them.
      observations: flattened observations at the free points, in the order of
        `np.argwhere(free)`, float32 [P, D].
    """

    field: maze.Maze
    goal: np.ndarray
    x: np.ndarray
    y: np.ndarray
    free: np.ndarray
    observations: np.ndarray


def maze_points(
    env_spec: str, info: DatasetInfo, resolution: int = 8
) -> MazePoints | None:
    """Lays a grid of observations over the maze of an environment.

    The body stands still at each point: a point mass has velocity zero; an ant
    has the pose of a reset. The goal is the centre of the goal cell where the
    maze has one, else the goal of one reset.

    Args:
      env_spec: what `factory.make` takes.
      info: the dataset's record: the key order to flatten by.
      resolution: grid points per cell and axis.

    Returns:
      The points, or None where the environment is not a maze.
    """
    env = factory.make(env_spec)
    field = maze.from_environment(env)
    if field is None or not info.observation_keys:
        env.close()
        return None
    reset, _ = env.reset(seed=0)
    env.close()
    goal = np.asarray(reset["desired_goal"], np.float64)
    if len(field.goal_cells) == 1:
        goal = field.center(field.goal_cells[0])
    width, height = field.size
    x = _midpoints(width, resolution * len(field.cells[0]))
    y = _midpoints(height, resolution * len(field.cells))
    walls = field.walls
    # Rows of the map run from the top, y from the bottom.
    free = np.kron(walls[::-1] == 0, np.ones((resolution, resolution), bool))
    grid_x, grid_y = np.meshgrid(x, y)
    xy = np.stack([grid_x[free], grid_y[free]], axis=-1)
    state = np.tile(reset["observation"], (len(xy), 1))
    if np.array_equal(reset["observation"][:2], reset["achieved_goal"]):
        state = np.concatenate([xy, np.zeros_like(state[:, 2:])], axis=-1)
    parts = {
        "achieved_goal": xy,
        "observation": state,
        "desired_goal": np.tile(goal, (len(xy), 1)),
    }
    observations = preprocessing.flatten_observation(parts, info.observation_keys)
    return MazePoints(field, goal, x, y, free, observations)


def save_maze(
    path: str | os.PathLike[str],
    points: MazePoints,
    values: np.ndarray,
    episodes: Mapping[int, Episodes],
    seeds: Sequence[int],
) -> None:
    """Writes maze.npz in one step, so that a reader never meets half a file.

    Args:
      path: file to write or replace.
      points: the grid.
      values: V at the grid's observations, [S, P].
      episodes: for each number of candidates, the episodes whose trajectories
        are drawn.
      seeds: the S seeds of the stack, in order.

    Raises:
      ValueError: `values` does not fit the grid.
    """
    expected = (len(seeds), len(points.observations))
    if values.shape != expected:
        raise ValueError(f"found values {values.shape}; expected {expected}")
    value = np.full((len(values), *points.free.shape), np.nan, np.float32)
    value[:, points.free] = values
    with files.replacing(pathlib.Path(path), "wb") as file:
        np.savez_compressed(
            file,
            maze_map=points.field.walls,
            cell_size=np.float64(points.field.cell_size),
            goal=points.goal,
            value_x=points.x,
            value_y=points.y,
            value=value,
            **_trajectories(episodes, seeds),
        )


def _trajectories(
    episodes: Mapping[int, Episodes], seeds: Sequence[int]
) -> dict[str, np.ndarray]:
    """All trajectories in one NaN-padded array, with what tells them apart."""
    paths: list[np.ndarray] = []
    candidates: list[int] = []
    returns: list[float] = []
    owners: list[int] = []
    for count, outcome in episodes.items():
        if outcome.trajectories is None:
            continue
        for member, number in np.ndindex(outcome.trajectories.shape[:2]):
            paths.append(outcome.trajectories[member, number])
            candidates.append(count)
            returns.append(float(outcome.returns[member, number]))
            owners.append(seeds[member])
    xy = np.full((len(paths), max(map(len, paths), default=0), 2), np.nan, np.float32)
    for row, path in zip(xy, paths, strict=True):
        row[: len(path)] = path
    return {
        "trajectory_xy": xy,
        "trajectory_num_candidates": np.array(candidates, np.int64),
        "trajectory_return": np.array(returns, np.float64),
        "trajectory_seed": np.array(owners, np.int64),
    }


def _midpoints(length: float, count: int) -> np.ndarray:
    """Centres of `count` equal parts of an interval centred on 0, float64."""
    return (np.arange(count) + 0.5) * length / count - length / 2
