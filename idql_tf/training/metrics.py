"""metrics.csv, continued without duplicates after a resume, and TensorBoard.

TensorBoard's event files can only grow: after a kill they repeat the points since
the last checkpoint.
"""

from __future__ import annotations

import csv
import io
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from idql_tf import files
from idql_tf.columns import EVALUATION_COLUMNS, METRIC_COLUMNS
from idql_tf.errors import UserError


def append_rows(
    path: pathlib.Path, header: Sequence[str], rows: Sequence[Sequence]
) -> None:
    """Appends whole rows in one write, the header first in a new file.

    A last line that a kill cut off is removed first.
    """
    with open(path, "a+b") as file:
        size = file.tell()
        if size:
            file.seek(size - 1)
            if file.read() != b"\n":
                file.seek(0)
                size = file.read().rfind(b"\n") + 1
                file.truncate(size)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not size:
        writer.writerow(header)
    writer.writerows(rows)
    with open(path, "a") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())


def drop_rows(path: pathlib.Path, last: Mapping[str, int]) -> None:
    """Removes rows past the last step, and a last row that a kill cut off.

    Args:
      path: a CSV file with a `step` column; may be absent.
      last: the largest step kept of each clock, 'critic' and 'behavior'; a file
        without a `name` column counts in critic updates.
    """
    header, rows = _whole_rows(path)
    if header:
        kept = [line for line, clock, step in rows if step <= last[clock]]
        files.write_atomically(path, "".join([header, *kept]))


def last_step(path: pathlib.Path) -> int:
    """The largest step of a CSV file's whole rows; 0 where it has none."""
    return max((step for *_, step in _whole_rows(path)[1]), default=0)


def _whole_rows(path: pathlib.Path) -> tuple[str, list[tuple[str, str, int]]]:
    """The header's line and of each row its line, clock and step."""
    text = files.read_text(path, "replace") if path.exists() else ""
    lines = text.splitlines(keepends=True)
    if not lines:
        return "", []
    header = lines[0].strip().split(",")  # What is written here needs no quotes.
    if tuple(header) not in (EVALUATION_COLUMNS, METRIC_COLUMNS):
        raise UserError(
            f"{path} has another header (found {lines[0].strip():.80}) than is written "
            "there; move the file away to go on without its rows"
        )
    rows = []
    for line in lines[1:]:
        row = line.rstrip().split(",")
        fields = dict(zip(header, row, strict=False))
        step = fields.get("step", "")
        # Python refuses to read integers of thousands of digits.
        is_step = step.isdecimal() and len(step) < 20
        if line.endswith("\n") and len(row) == len(header) and is_step:
            rows.append((line, _clock(fields.get("name", "")), int(step)))
    return lines[0], rows


def _clock(name: str) -> str:
    """'behavior' for metrics counted in behaviour updates, else 'critic'."""
    return "behavior" if "behavior" in name else "critic"


class MetricsLog:
    """Writes metric values of S seeds to metrics.csv and TensorBoard.

    Args:
      path: the run directory.
      seeds: the S seeds.
      phase: 'offline' or 'online'.
    """

    def __init__(self, path: pathlib.Path, seeds: Sequence[int], phase: str) -> None:
        self._file = path / "metrics.csv"
        self._seeds, self._phase = tuple(seeds), phase
        self._board = [
            tf.summary.create_file_writer(str(path / "tensorboard" / f"seed_{seed}"))
            for seed in seeds
        ]

    def resume(self, critic_step: int, behavior_step: int) -> None:
        """Forgets what a killed run wrote after its last checkpoint."""
        drop_rows(self._file, {"critic": critic_step, "behavior": behavior_step})

    def write(
        self,
        metrics: Mapping[str, np.ndarray],
        critic_step: int,
        behavior_step: int,
    ) -> None:
        """Writes values [S] of each metric at its own step count."""
        steps = {"critic": critic_step, "behavior": behavior_step}
        rows = []
        for name, values in sorted(metrics.items()):
            step = steps[_clock(name)]
            for seed, board, value in zip(
                self._seeds, self._board, values, strict=True
            ):
                rows.append((self._phase, step, seed, name, f"{float(value):.7g}"))
                with board.as_default():
                    tf.summary.scalar(name, float(value), step)
        append_rows(self._file, METRIC_COLUMNS, rows)
        for board in self._board:
            board.flush()
