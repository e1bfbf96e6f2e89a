"""What data must satisfy before anything is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from idql_tf.data.columns import BLOCK_BYTES
from idql_tf.data.source import SourceData

_BOUND_TOLERANCE = 1e-3  # of the range; logs round and clip


def row_blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (first row, block of rows) so that temporaries stay small."""
    step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def find_problems(
    data: SourceData, low: np.ndarray, high: np.ndarray
) -> tuple[str, ...]:
    """Checks a source's arrays; returns one line per reason not to train.

    Args:
      data: the arrays, actions in environment units.
      low: lower action bounds [A].
      high: upper action bounds [A].
    """
    found = (
        _non_finite("observations", data.rows, data.locate_row),
        _non_finite("actions", data.actions, data.locate_transition),
        _non_finite("rewards", data.rewards, data.locate_transition),
        _out_of_bounds(data, low, high),
        _nothing_to_learn(data),
    )
    return tuple(problem for problem in found if problem)


def _non_finite(
    field: str, array: np.ndarray, locate: Callable[[int], str]
) -> str | None:
    matrix = array.reshape(len(array), -1)
    count, first = 0, None
    for start, block in row_blocks(matrix):
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        count += len(bad)
        if first is None and len(bad):
            first = start + int(bad[0])
    if first is None:
        return None
    column = int(np.argmin(np.isfinite(matrix[first])))
    where = f"{locate(first)}, column {column}" if array.ndim > 1 else locate(first)
    return (
        f"{field} hold {matrix[first, column]} at {where} ({count:,} bad rows of "
        f"{len(array):,}); expected finite numbers; repair or remove these rows"
    )


def _out_of_bounds(data: SourceData, low: np.ndarray, high: np.ndarray) -> str | None:
    slack = _BOUND_TOLERANCE * (high - low)
    for start, block in row_blocks(data.actions):
        bad = (block < low - slack) | (block > high + slack)
        if bad.any():
            row, dimension = (int(k) for k in np.argwhere(bad)[0])
            value = block[row, dimension]
            below = value < low[dimension]
            side = "lower" if below else "upper"
            bound = (low if below else high)[dimension]
            return (
                f"actions hold {value:g} at {data.locate_transition(start + row)}, "
                f"dimension {dimension}, beyond the {side} bound {bound:g}; expected "
                f"values in [{low[dimension]:g}, {high[dimension]:g}]; rescale the "
                f"actions, or name the environment they belong to with --env_id"
            )
    return None


def _nothing_to_learn(data: SourceData) -> str | None:
    if np.any(data.rewards) or not np.all(data.masks):
        return None
    return (
        f"all {len(data.rewards):,} rewards are 0 and nothing terminates; expected "
        f"some reward or termination to learn from; add rewards to the data"
    )
