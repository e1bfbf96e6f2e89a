"""What a mirror held, on disk: written once, a file per checkpoint, never rewritten."""

from __future__ import annotations

import io
import pathlib
from typing import NamedTuple

import numpy as np

from idql_tf import files
from idql_tf.errors import UserError


class Rows(NamedTuple):
    """Packed transitions [n, S, W] and the origins [m, 3] of the items they came in."""

    packed: np.ndarray
    origins: np.ndarray


class Journal:
    """Packed rows in the order of their insertion, in files by first number.

    Args:
      folder: where they are; made when there is something to write.
      capacity: rows that a mirror holds.
      keep: checkpoints kept; files that none of the last ones needs are removed.
      row_shape: (S, W).
    """

    def __init__(
        self,
        folder: pathlib.Path,
        capacity: int,
        keep: int,
        row_shape: tuple[int, int],
    ) -> None:
        self._folder, self._capacity, self._keep = folder, capacity, keep
        self._row_shape = row_shape

    def __len__(self) -> int:
        """Files there are."""
        return len(self._files())

    def write(self, first: int, rows: Rows) -> None:
        """Adds rows, the first of which is number `first`; nothing if there are none.

        Files from a later number are of a time that was lost, and are removed.

        Raises:
          OSError: they cannot be written; what is there is untouched.
        """
        if not len(rows.packed):
            return
        paths = [path for path in self._files() if _first(path) < first]
        # Not into the file: on a full disk NumPy complains once more, to stderr.
        archive = io.BytesIO()
        np.savez(archive, **rows._asdict())
        with files.replacing(self._folder / f"{first:012d}.npz", "wb") as file:
            file.write(archive.getbuffer())
        for path in self._files():
            if _first(path) > first:
                path.unlink()
        if not paths:
            return
        # Every checkpoint there is ends a file: this is where the oldest one kept
        # does. That which counts on the new file is not written yet.
        ends = [*map(_first, paths[1:]), first]
        oldest = ends[-min(self._keep, len(ends))]
        for path, end in zip(paths, ends, strict=True):
            if end <= oldest - self._capacity:
                path.unlink()

    def read(self, count: int) -> Rows | None:
        """The newest rows up to number `count`, at most the capacity.

        Files of a later time, which a kill left without their checkpoint, do not count;
        the next `write` removes them.

        Returns:
          None where there are none.

        Raises:
          UserError: a file is missing or damaged.
        """
        parts: list[Rows] = []
        expected: int | None = None
        for path in self._files():
            first = _first(path)
            if first >= count:
                continue
            part = _cut(self._read(path), count - first)
            if expected not in (None, first):
                raise UserError(
                    f"{self._folder} has transitions up to {expected}, then from "
                    f"{first}; restore the missing file, or start a new run"
                )
            parts, expected = [*parts, part], first + len(part.packed)
        if not count:
            return None
        rows = sum(len(part.packed) for part in parts)
        if expected != count or rows < min(count, self._capacity):
            raise UserError(
                f"{self._folder} has {rows} transitions up to {expected or 0}; the "
                f"checkpoint has {count}; restore the missing file, or start a new run"
            )
        packed, origins = (np.concatenate(x) for x in zip(*parts, strict=True))
        return Rows(packed[-self._capacity :], origins)

    def _read(self, path: pathlib.Path) -> Rows:
        try:
            if not path.is_file():  # A pipe would be waited for.
                raise OSError("it is no file")
            with np.load(path, allow_pickle=False) as file:
                rows = Rows(*(file[name] for name in Rows._fields))
            found = [(x.shape[1:], x.dtype) for x in rows]
            if found != [(self._row_shape, np.float32), ((3,), np.int64)]:
                raise ValueError(f"it has {found}")
        # A flipped bit reaches Python as any of a dozen kinds.
        except Exception as error:
            text = " ".join(str(error).split())
            raise UserError(
                f"{path} is damaged ({text:.100}); restore it, or start a new run"
            ) from error
        return rows

    def _files(self) -> list[pathlib.Path]:
        return sorted(self._folder.glob("*.npz"))


def _cut(rows: Rows, count: int) -> Rows:
    per_item = len(rows.packed) // max(1, len(rows.origins))
    items = -(-count // max(1, per_item))
    return Rows(rows.packed[:count], rows.origins[:items])


def _first(path: pathlib.Path) -> int:
    try:
        return int(path.stem)
    except ValueError as error:
        raise UserError(f"{path} is no file of a journal; move it away") from error
