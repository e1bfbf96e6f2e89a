"""What every source hands over before actions are mapped and data checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from idql_tf.data.columns import Column
from idql_tf.data.progress import slow_progress
from idql_tf.data.scores import ScoreReference
from idql_tf.data.transitions import aligned_empty
from idql_tf.errors import UserError

_ONE_NUMBER = {"rewards", "terminals", "timeouts", "masks", "valids"}


class ActionBounds(NamedTuple):
    """Lower and upper bounds of the actions as stored, [A] each, environment units.

    Of `discrete` actions there is one number per step, an integer: [1] each.
    """

    low: np.ndarray
    high: np.ndarray
    discrete: bool = False

    def __str__(self) -> str:
        if self.discrete:
            return f"one integer from {self.low[0]:g} to {self.high[0]:g}"
        return f"{len(self.low)} action numbers"


@dataclass(frozen=True)
class SourceData:
    """Arrays as in `Transitions`, with actions still in environment units.

    Attributes:
      rows: float32 [R, D].
      index: int32 [M].
      actions: float32 [M, A]; of discrete actions [M, 1].
      rewards: float32 [M].
      masks: float32 [M].
      dones: bool [M].
      locate_row: says in the file's own terms where a row came from.
      locate_transition: the same for a transition's action and reward.
      action_bounds: where the dataset records them.
      integer_actions: whether the file has one integer per step as action.
      env_spec: JSON of the recorded evaluation environment.
      observation_keys: keys of dict observations in flattening order.
      reference: the dataset's own score reference.
    """

    rows: np.ndarray
    index: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    masks: np.ndarray
    dones: np.ndarray
    locate_row: Callable[[int], str]
    locate_transition: Callable[[int], str]
    action_bounds: ActionBounds | None = None
    integer_actions: bool = False
    env_spec: str | None = None
    observation_keys: tuple[str, ...] = ()
    reference: ScoreReference | None = None


def require_columns(
    columns: dict[str, Column], required: Sequence[str], where: str
) -> int:
    """Checks that arrays are there and equally long; returns their length N.

    Raises:
      UserError: one is missing, empty or of another length, or observations or
        actions are not vectors.
    """
    missing = [name for name in required if name not in columns]
    if missing:
        raise UserError(
            f"{where} lacks {', '.join(missing)}; found "
            f"{', '.join(sorted(columns)) or 'no arrays'}, expected "
            f"{', '.join(required)}; rename or add the missing arrays"
        )
    lengths = {name: (columns[name].shape or (0,))[0] for name in columns}
    num_rows = lengths[required[0]]
    wrong = [name for name in lengths if lengths[name] != num_rows]
    if wrong:
        raise UserError(
            f"{where}: '{wrong[0]}' has {lengths[wrong[0]]} rows, '{required[0]}' "
            f"has {num_rows}; expected equal numbers; cut them to the same steps"
        )
    for name in sorted(set(columns) & _ONE_NUMBER):
        if columns[name].width != 1:
            raise UserError(
                f"{where}: '{name}' has shape {columns[name].shape}; expected "
                f"({num_rows},), one number per step; keep one column"
            )
    for name in ("observations", "actions"):
        shape = columns[name].shape
        if len(shape) > 2 or not columns[name].width:
            raise UserError(
                f"{where}: '{name}' has shape {shape}; expected ({num_rows}, size), "
                f"one vector of at least 1 number per step; flatten or encode it"
            )
    if num_rows < 2:
        raise UserError(
            f"{where} has {num_rows} rows; expected at least 2 (one transition)"
        )
    return num_rows


def rows_are_states(
    columns: dict[str, Column],
    keep: np.ndarray,
    terminated: np.ndarray,
    where: str,
) -> SourceData:
    """Builds transitions of files whose next observation is the next row.

    Args:
      columns: observations [N, ...], actions [N, ...] and rewards [N].
      keep: rows that start a transition, bool [N].
      terminated: rows whose transition is a true termination, bool [N].
      where: the file, for messages.

    Returns:
      Transition i goes from row `index[i]` to the row after it; an episode
      ends where a row was left out or the environment terminated.

    Raises:
      UserError: no row is kept.
    """
    index = np.flatnonzero(keep).astype(np.int32)
    if not len(index):
        raise UserError(
            f"{where}: no transition is left of {len(keep)} rows, every row ends a "
            f"trajectory; expected trajectories of at least 2 rows"
        )
    observations = columns["observations"]
    # A final termination has no row after it; its next row is never used.
    extra = int(index[-1] == len(keep) - 1)
    rows = aligned_empty((len(keep) + extra, observations.width))
    with slow_progress("reading observations", len(keep)) as advance:
        observations.fill(rows[: len(keep)], advance=advance)
    rows[len(keep) :] = rows[len(keep) - 1]
    dones = terminated[index] | (np.diff(index, append=-1) != 1)
    return SourceData(
        rows=rows,
        index=index,
        actions=read_actions(columns, keep),
        rewards=read_rewards(columns, keep),
        masks=1 - terminated[index].astype(np.float32),
        dones=dones,
        locate_row=lambda row: f"row {row}",
        locate_transition=lambda i: f"row {index[i]}",
        integer_actions=integer_actions(columns),
    )


def integer_actions(columns: dict[str, Column]) -> bool:
    """Tells whether the actions are one integer per step."""
    actions = columns["actions"]
    return actions.width == 1 and actions.dtype.kind in "iub"


def read_actions(columns: dict[str, Column], keep: np.ndarray) -> np.ndarray:
    """Reads the actions float32 [M, A] of the steps where `keep`."""
    actions = aligned_empty((int(keep.sum()), columns["actions"].width))
    columns["actions"].fill(actions, keep)
    return actions


def read_rewards(columns: dict[str, Column], keep: np.ndarray) -> np.ndarray:
    """Reads the rewards float32 [M] of the steps where `keep`."""
    rewards = aligned_empty((int(keep.sum()),))
    columns["rewards"].fill(rewards, keep)
    return rewards
