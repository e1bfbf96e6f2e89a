"""A user's own arrays in an .npz file."""

from __future__ import annotations

import pathlib
import zipfile

import numpy as np

from idql_tf.data.columns import (
    Column,
    existing_file,
    npz_columns,
    paired_blocks,
    reading,
)
from idql_tf.data.source import (
    SourceData,
    integer_actions,
    read_actions,
    read_rewards,
    require_columns,
    rows_are_states,
)
from idql_tf.data.transitions import aligned_empty
from idql_tf.errors import UserError

_REQUIRED = ("observations", "actions", "rewards", "terminals")
_OPTIONAL = ("timeouts", "next_observations")


def load(name: str) -> SourceData:
    """Reads arrays of N steps from an .npz file.

    `observations` [N, D], `actions` [N, A] (integers [N] of a discrete action
    space), `rewards` [N] and `terminals` [N] (true terminations) are required.
    With `next_observations` [N, D] every step is a transition. Without, the next
    row is the next observation, so steps flagged in `timeouts` [N], and a last
    step that does not terminate, start no transition.

    Raises:
      UserError: no such file, not a zip, damaged, or arrays are missing.
    """
    path = existing_file(name)
    open_check(path)
    with reading(path):
        columns = select(npz_columns(path), (*_REQUIRED, *_OPTIONAL), str(path))
        num_rows = require_columns(columns, _REQUIRED, str(path))
        terminals = columns["terminals"].flags()
        timeouts = np.zeros(num_rows, bool)
        if "timeouts" in columns:
            timeouts = columns["timeouts"].flags()
        if "next_observations" in columns:
            return with_next(columns, terminals, terminals | timeouts)
        keep = ~timeouts | terminals
        keep[-1] = terminals[-1]
        return rows_are_states(columns, keep, terminals, str(path))


def open_check(path: pathlib.Path) -> None:
    """Checks that a file is a complete zip archive.

    Raises:
      UserError: it is not.
    """
    if zipfile.is_zipfile(path):
        return
    with path.open("rb") as file:
        truncated = file.read(4) == b"PK\x03\x04"
    what = "a truncated .npz file" if truncated else "not an .npz file"
    raise UserError(
        f"{path} ({path.stat().st_size:,} bytes) is {what}; expected a complete zip "
        f"as numpy.savez writes it; copy it again or check the path"
    )


def select(
    columns: dict[str, Column], names: tuple[str, ...], where: str
) -> dict[str, Column]:
    """Keeps the named arrays; names what was found if `observations` is not there."""
    if "observations" not in columns:
        require_columns(columns, names[:4], where)
    return {name: columns[name] for name in names if name in columns}


def with_next(
    columns: dict[str, Column], terminated: np.ndarray, ends: np.ndarray
) -> SourceData:
    """Builds transitions of data that name their next observations.

    A next observation takes a row of its own only where it is not the next
    step's observation, so each observation is stored once.

    Args:
      columns: observations and next_observations [N, ...], actions, rewards.
      terminated: true terminations, bool [N].
      ends: last transitions of their episodes as far as the file tells.
    """
    observations, following = columns["observations"], columns["next_observations"]
    if observations.shape != following.shape:
        raise UserError(
            f"next_observations has shape {following.shape}, observations "
            f"{observations.shape}; expected equal shapes; correct the arrays"
        )
    breaks = _breaks(observations, following)
    extra_before = np.cumsum(breaks) - breaks
    index = (np.arange(len(breaks)) + extra_before).astype(np.int32)
    rows = aligned_empty((len(breaks) + int(breaks.sum()), observations.width))
    start = 0
    for now, then in paired_blocks(observations, following):
        block = slice(start, start + len(now))
        apart = breaks[block]
        # A float64 beyond float32 becomes infinite, which is refused as such.
        with np.errstate(over="ignore"):
            rows[index[block]] = now.reshape(-1, observations.width)
            rows[index[block][apart] + 1] = then[apart].reshape(-1, observations.width)
        start += len(now)

    def locate_row(row: int) -> str:
        step = int(np.searchsorted(index, row, "right")) - 1
        return f"row {step}" + ("" if row == index[step] else " of next_observations")

    every = np.ones(len(index), bool)
    return SourceData(
        rows=rows,
        index=index,
        actions=read_actions(columns, every),
        rewards=read_rewards(columns, every),
        masks=1 - terminated.astype(np.float32),
        dones=ends | breaks,
        locate_row=locate_row,
        locate_transition=lambda i: f"row {i}",
        integer_actions=integer_actions(columns),
    )


def _breaks(observations: Column, following: Column) -> np.ndarray:
    """Finds steps, bool [N], whose next observation is not the next row."""
    breaks = np.ones(observations.shape[0], bool)
    start, last, width = 0, None, observations.width
    for now, then in paired_blocks(observations, following):
        now, then = now.reshape(-1, width), then.reshape(-1, width)
        if last is not None:
            breaks[start - 1] = _differ(last, now[:1])[0]
        breaks[start : start + len(now) - 1] = _differ(then[:-1], now[1:])
        start, last = start + len(now), then[-1:]
    return breaks


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    same = np.isclose(a, b, rtol=1e-6, atol=1e-6, equal_nan=True)
    return ~same.all(axis=1)
