"""D4RL's HDF5 layout: flat arrays, the next row is the next observation."""

from __future__ import annotations

import pathlib

import numpy as np

from idql_tf.data import hdf5
from idql_tf.data.columns import Column, existing_file
from idql_tf.data.source import SourceData, require_columns, rows_are_states
from idql_tf.errors import UserError

_REQUIRED = ("observations", "actions", "rewards", "terminals")


def load(name: str, max_episode_steps: int | None = None) -> SourceData:
    """Reads a D4RL file as `d4rl.qlearning_dataset` does.

    Rows flagged `timeouts` and the file's last row start no transition,
    because the row after them is not their successor; terminals are kept.

    Args:
      name: path of the HDF5 file.
      max_episode_steps: the environment's time limit, which stands in for
        `timeouts` in files that have none.

    Raises:
      UserError: no such file, not HDF5, damaged, arrays are missing, or one lies
        in another file.
    """
    path = existing_file(name)
    with hdf5.opened(path) as tree:
        columns = {
            key: tree.column(key) for key in (*_REQUIRED, "timeouts") if key in tree
        }
        require_columns(columns, _REQUIRED, str(path))
        terminals = columns["terminals"].flags()
        keep = ~_timeouts(columns, terminals, max_episode_steps, path)
        keep[-1] = False
        return rows_are_states(columns, keep, terminals, str(path))


def _timeouts(
    columns: dict[str, Column],
    terminals: np.ndarray,
    max_episode_steps: int | None,
    path: pathlib.Path,
) -> np.ndarray:
    if "timeouts" in columns:
        return columns["timeouts"].flags()
    if max_episode_steps is None:
        raise UserError(
            f"{path} has no 'timeouts', so episode ends are unknown; expected that "
            f"array or a time limit; add it, or pass --env_id of an environment "
            f"with a time limit"
        )
    return timeouts_from_limit(terminals, max_episode_steps)


def timeouts_from_limit(terminals: np.ndarray, max_episode_steps: int) -> np.ndarray:
    """Finds the rows, bool [N], at which the time limit ended an episode."""
    timeouts = np.zeros_like(terminals)
    start = 0
    for end in [*np.flatnonzero(terminals), len(terminals) - 1]:
        limits = np.arange(start + max_episode_steps - 1, end + 1, max_episode_steps)
        timeouts[limits] = True
        start = end + 1
    return timeouts
