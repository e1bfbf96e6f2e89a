"""Maze maps, shortest paths over them and a controller that follows them.

Cells are `(row, column)`; positions are metres, with the maze centred on the
origin, x growing with the column and y falling with the row.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import gin
import gymnasium
import numpy as np

Cell = tuple[int, int]
WALL, FREE, GOAL, COMBINED = 1, 0, "g", "c"


@dataclasses.dataclass(frozen=True)
class Maze:
    """A maze map and its scale.

    Attributes:
      cells: rows of 1 (wall), 0 (free), "g" (goal), "r" (start), "c" (either).
      cell_size: side of a cell, metres.
    """

    cells: tuple[tuple[int | str, ...], ...]
    cell_size: float = 1.0

    @property
    def walls(self) -> np.ndarray:
        """Wall map, int8 [rows, columns], 1 = wall."""
        return np.array([[cell == WALL for cell in row] for row in self.cells], np.int8)

    @property
    def free_cells(self) -> list[Cell]:
        """Every cell that is not a wall, row by row."""
        return [(int(i), int(j)) for i, j in np.argwhere(self.walls == 0)]

    @property
    def goal_cells(self) -> list[Cell]:
        """Cells a goal may be in: the marked ones, or every free one if none is."""
        marked = [
            (i, j) for i, j in self.free_cells if self.cells[i][j] in (GOAL, COMBINED)
        ]
        return marked or self.free_cells

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, metres."""
        return len(self.cells[0]) * self.cell_size, len(self.cells) * self.cell_size

    def center(self, cell: Cell) -> np.ndarray:
        """Centre of a cell, float64 [2]."""
        width, height = self.size
        x = (cell[1] + 0.5) * self.cell_size - width / 2
        y = height / 2 - (cell[0] + 0.5) * self.cell_size
        return np.array([x, y])

    def cell(self, position: np.ndarray) -> Cell:
        """Cell a position [2] is in, clipped to the map."""
        width, height = self.size
        row = int((height / 2 - position[1]) // self.cell_size)
        column = int((position[0] + width / 2) // self.cell_size)
        return (
            min(max(row, 0), len(self.cells) - 1),
            min(max(column, 0), len(self.cells[0]) - 1),
        )

    def with_goal(self, goal: Cell) -> Maze:
        """Copy whose only marked cell is one goal; every other cell may be a start."""
        rows = [[WALL if cell == WALL else FREE for cell in row] for row in self.cells]
        marked: list[list[int | str]] = [list(row) for row in rows]
        marked[goal[0]][goal[1]] = GOAL
        return Maze(tuple(map(tuple, marked)), self.cell_size)


def from_environment(env: gymnasium.Env) -> Maze | None:
    """The maze of a gymnasium-robotics maze environment, None for any other."""
    maze = getattr(env.unwrapped, "maze", None)
    if maze is None or not hasattr(maze, "maze_map"):
        return None
    return Maze(tuple(map(tuple, maze.maze_map)), float(maze.maze_size_scaling))


def distances(walls: np.ndarray, target: Cell) -> np.ndarray:
    """Steps to the target over free cells (up, down, left, right).

    Args:
      walls: int8 [rows, columns], 1 = wall.
      target: the cell at distance 0.

    Returns:
      int32 [rows, columns]; -1 for walls and for cells with no way to the target.
    """
    steps = np.full(walls.shape, -1, np.int32)
    steps[target] = 0
    queue = collections.deque([target])
    while queue:
        cell = queue.popleft()
        for neighbour in _neighbours(walls, cell):
            if steps[neighbour] < 0:
                steps[neighbour] = steps[cell] + 1
                queue.append(neighbour)
    return steps


def shortest_path(walls: np.ndarray, start: Cell, target: Cell) -> list[Cell]:
    """Cells from start to target, both included; empty when there is no way."""
    steps = distances(walls, target)
    if walls[start] or steps[start] < 0:
        return []
    path = [start]
    while path[-1] != target:
        path.append(min(_neighbours(walls, path[-1]), key=lambda cell: steps[cell]))
    return path


@gin.configurable(denylist=["maze"])
@dataclasses.dataclass
class WaypointController:
    """Drives a point mass along the shortest path to a target position.

    A proportional-derivative law pulls towards the next waypoint:
    `action = clip(gain * (waypoint - position) - damping * velocity + noise, -1, 1)`.

    Attributes:
      maze: the maze.
      gain: action per metre.
      damping: action per metre/second.
      radius: a waypoint counts as passed within this distance, in cells.
    """

    maze: Maze
    gain: float = 10.0
    damping: float = 1.0
    radius: float = 0.25
    _waypoints: list[np.ndarray] = dataclasses.field(default_factory=list, init=False)

    def set_target(
        self, position: np.ndarray, target: np.ndarray, offset: np.ndarray | float = 0.0
    ) -> None:
        """Plans from a position [2] to a target position [2], both in free cells.

        Waypoints lie `offset` [2] off the centres of the cells between.
        """
        path = shortest_path(
            self.maze.walls, self.maze.cell(position), self.maze.cell(target)
        )
        self._waypoints = [self.maze.center(cell) + offset for cell in path[1:-1]]
        self._waypoints.append(np.asarray(target, np.float64))

    def act(
        self, observation: np.ndarray, noise: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Action, float64 [2] in [-1, 1], for an observation (x, y, vx, vy)."""
        position, velocity = observation[:2], observation[2:4]
        while len(self._waypoints) > 1 and self._near(position):
            self._waypoints.pop(0)
        pull = self.gain * (self._waypoints[0] - position)
        return np.clip(pull - self.damping * velocity + noise, -1.0, 1.0)

    def arrived(self, observation: np.ndarray) -> bool:
        """Whether only the target is left and it is within the radius."""
        return len(self._waypoints) == 1 and self._near(observation[:2])

    def _near(self, position: np.ndarray) -> bool:
        distance = np.linalg.norm(self._waypoints[0] - position)
        return bool(distance <= self.radius * self.maze.cell_size)


def _neighbours(walls: np.ndarray, cell: Cell) -> Sequence[Cell]:
    row, column = cell
    around = (
        (row - 1, column),
        (row + 1, column),
        (row, column - 1),
        (row, column + 1),
    )
    return [
        (i, j)
        for i, j in around
        if 0 <= i < walls.shape[0] and 0 <= j < walls.shape[1] and not walls[i, j]
    ]
