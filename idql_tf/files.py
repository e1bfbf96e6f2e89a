"""Files that are either the old one or the whole new one, whatever happens."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def replacing(path: pathlib.Path, mode: str = "w") -> Iterator[IO]:
    """Opens a neighbour of `path` that takes its place once written and synced.

    Args:
      path: the file to write or replace; its directory is made if absent.
      mode: 'w' or 'wb'.

    Raises:
      OSError: the file cannot be written; the old one is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes or replaces a text file in one step."""
    with replacing(path) as file:
        file.write(text)
