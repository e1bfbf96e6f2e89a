"""A progress bar that appears only when the work turns out to be slow."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress

_PATIENCE_SECONDS = 5.0


@contextlib.contextmanager
def slow_progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields `advance(count)`; a bar appears on stderr after five seconds."""
    started = time.monotonic()
    bar: Progress | None = None
    completed = 0

    def advance(count: int) -> None:
        nonlocal bar, completed
        completed += count
        if bar is None and time.monotonic() - started > _PATIENCE_SECONDS:
            bar = Progress(console=Console(stderr=True), transient=True)
            bar.add_task(description, total=total)
            bar.start()
        if bar is not None:
            bar.update(bar.task_ids[0], completed=completed)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.stop()
