"""What a mirror held, on disk: written once, a file per checkpoint, never rewritten."""

from __future__ import annotations

import pathlib

import numpy as np

from idql_tf import files
from idql_tf.errors import UserError


class Journal:
    """Packed rows [n, S, W] in the order of their insertion, in files by first number.

    Args:
      folder: where they are; made when there is something to write.
      capacity: rows that a mirror holds.
      keep: checkpoints kept; files that none of the last ones needs are removed.
    """

    def __init__(self, folder: pathlib.Path, capacity: int, keep: int) -> None:
        self._folder, self._capacity, self._keep = folder, capacity, keep

    def write(self, first: int, rows: np.ndarray) -> None:
        """Adds rows, the first of which is number `first`; nothing if there are none.

        Raises:
          OSError: they cannot be written; what is there is untouched.
        """
        if not len(rows):
            return
        with files.replacing(self._folder / f"{first:012d}.npy", "wb") as file:
            np.save(file, rows, allow_pickle=False)
        paths = self._files()
        ends = [*map(_first, paths[1:]), first + len(rows)]
        # Every checkpoint ends a file; this is where the oldest one kept does.
        oldest = ends[-min(self._keep, len(ends))]
        for path, end in zip(paths, ends, strict=True):
            if end <= oldest - self._capacity:
                path.unlink()

    def read(self, count: int) -> np.ndarray | None:
        """The newest rows up to number `count`, at most the capacity.

        Files of a later time, which a kill left without their checkpoint, are removed.

        Returns:
          Rows [n, S, W]; None where there are none.

        Raises:
          UserError: a file is missing or damaged.
        """
        parts: list[np.ndarray] = []
        expected: int | None = None
        for path in self._files():
            first = _first(path)
            if first >= count:
                path.unlink()
                continue
            try:
                part = np.load(path, allow_pickle=False)
                if part.ndim != 3 or part.dtype != np.float32:
                    raise ValueError(f"{part.dtype} of shape {part.shape}")
            except (OSError, ValueError, EOFError) as error:
                raise UserError(
                    f"{path} is damaged ({error!s:.100}); restore it, or start a new "
                    "run"
                ) from error
            part = part[: count - first]
            if expected not in (None, first):
                raise UserError(
                    f"{self._folder} has transitions up to {expected}, then from "
                    f"{first}; restore the missing file, or start a new run"
                )
            parts, expected = [*parts, part], first + len(part)
        if not count:
            return None
        rows = sum(map(len, parts))
        if expected != count or rows < min(count, self._capacity):
            raise UserError(
                f"{self._folder} has {rows} transitions up to {expected or 0}; the "
                f"checkpoint has {count}; restore the missing file, or start a new run"
            )
        return np.concatenate(parts)[-self._capacity :]

    def _files(self) -> list[pathlib.Path]:
        return sorted(self._folder.glob("*.npy"))


def _first(path: pathlib.Path) -> int:
    try:
        return int(path.stem)
    except ValueError as error:
        raise UserError(f"{path} is no file of a journal; move it away") from error
