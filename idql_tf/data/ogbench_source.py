"""OGBench's .npz layouts, in which `terminals` marks ends of trajectories."""

from __future__ import annotations

import numpy as np

from idql_tf.data.columns import existing_file, npz_columns, reading
from idql_tf.data.npz_source import open_check, select, with_next
from idql_tf.data.source import SourceData, require_columns, rows_are_states
from idql_tf.errors import UserError

_REQUIRED = ("observations", "actions", "terminals")
_OPTIONAL = ("rewards", "masks", "valids", "next_observations")


def load(name: str) -> SourceData:
    """Reads an OGBench file in any of the benchmark's three layouts.

    As downloaded, `terminals` marks a trajectory's last *state*, which starts
    no transition; saved compact, `valids` is 0 there; saved regular, the file
    holds `next_observations`. None of these marks a termination: that is
    `masks` = 0, which only the relabelled (singletask) data have.

    Raises:
      UserError: no such file, not a zip, damaged, arrays are missing, or the
        file has no rewards.
    """
    path = existing_file(name)
    open_check(path)
    with reading(path):
        found = npz_columns(path)
        columns = select(found, (*_REQUIRED, *_OPTIONAL), str(path))
        num_rows = require_columns(columns, _REQUIRED, str(path))
        if "rewards" not in columns:
            raise UserError(
                f"{path} has no rewards (goal-conditioned data; found "
                f"{', '.join(sorted(found))}); expected rewards [N]; load a "
                f"singletask variant with ogbench and save it with numpy.savez, or "
                f"add rewards"
            )
        ends = columns["terminals"].flags()
        terminated = np.zeros(num_rows, bool)
        if "masks" in columns:
            terminated = ~columns["masks"].flags()
        if "next_observations" in columns:
            return with_next(columns, terminated, ends)
        keep = columns["valids"].flags() if "valids" in columns else ~ends
        keep[-1] = False
        return rows_are_states(columns, keep, terminated, str(path))
