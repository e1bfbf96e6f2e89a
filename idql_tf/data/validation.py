"""What data must satisfy before anything is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from idql_tf.data.columns import BLOCK_BYTES
from idql_tf.data.source import ActionBounds, SourceData

_BOUND_TOLERANCE = 1e-3  # of the range; logs round and clip


def row_blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (first row, block of rows) so that temporaries stay small."""
    step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def find_problems(data: SourceData, bounds: ActionBounds) -> tuple[str, ...]:
    """Checks a source's arrays; returns one line per reason not to train.

    Args:
      data: the arrays, actions in environment units.
      bounds: of the actions.
    """
    check_actions = _no_action if bounds.discrete else _out_of_bounds
    found = (
        _non_finite("observations", data.rows, data.locate_row),
        _non_finite("actions", data.actions, data.locate_transition),
        _non_finite("rewards", data.rewards, data.locate_transition),
        check_actions(data, bounds),
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


def _no_action(data: SourceData, bounds: ActionBounds) -> str | None:
    """Finds a number that is none of the discrete actions."""
    actions = data.actions[:, 0]
    known = (actions >= bounds.low) & (actions <= bounds.high)
    bad = np.flatnonzero(
        np.isfinite(actions) & ~(known & (np.rint(actions) == actions))
    )
    if not len(bad):
        return None
    return (
        f"actions hold {actions[bad[0]]:g} at {data.locate_transition(int(bad[0]))}; "
        f"expected {bounds}; repair the actions, or name the environment they belong "
        f"to with --env_id"
    )


def _out_of_bounds(data: SourceData, bounds: ActionBounds) -> str | None:
    low, high, _ = bounds
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
