"""What an actor writes with: few items on their way, and waits that end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from idql_tf.replay import deadlines, server
from idql_tf.replay.layout import Item
from idql_tf.replay.library import reverb
from idql_tf.replay.tables import FRESH, ONLINE

_LOOK_EVERY_SECONDS = 1.0


class TransitionWriter:
    """Sends items to tables, in order.

    Reverb itself keeps what the server has not confirmed and sends it again when the
    server is back.

    Args:
      client: of the server.
      deadline_seconds: how long to wait for a server that is full, slow or gone.
      tables: where every item goes.
      max_pending: items on their way at most; more wait for the server.
      on_wait: called every second of a wait; what it raises ends the wait. With it, a
        server that answers and is full is waited for without end.
    """

    def __init__(
        self,
        client: reverb.Client,
        deadline_seconds: float,
        tables: Sequence[str] = (ONLINE, FRESH),
        max_pending: int = 16,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        self._client, self._deadline = client, deadline_seconds
        self._tables = tuple(tables)
        self._max_pending, self._on_wait = max_pending, on_wait
        self._writer = deadlines.within(
            deadline_seconds,
            client,
            "connecting to the replay server",
            lambda: client.trajectory_writer(num_keep_alive_refs=1),
        )

    def write(self, item: Item) -> None:
        """Sends one item of the tables' signature.

        Raises:
          ReplayTimeout: the server confirmed no earlier item within the deadline.
          ValueError: the item has not the tables' signature.
        """
        self._writer.append(item)
        whole = {name: self._writer.history[name][-1] for name in item}
        for table in self._tables:
            self._writer.create_item(table, 1.0, whole)
        self.flush(self._max_pending)

    def flush(self, pending: int = 0, seconds: float | None = None) -> None:
        """Waits until the server has confirmed all items but `pending`.

        Args:
          pending: so many.
          seconds: how long, without `on_wait`; None waits as the deadline says.

        Raises:
          ReplayTimeout: it did not.
        """
        on_wait = self._on_wait if seconds is None else None
        deadline = self._deadline if seconds is None else seconds
        give_up = time.monotonic() + deadline
        while True:
            left = max(0.0, min(_LOOK_EVERY_SECONDS, give_up - time.monotonic()))
            try:
                self._writer.flush(pending, timeout_ms=int(1_000 * left) + 1)
                return
            except reverb.errors.DeadlineExceededError:
                if on_wait is not None:
                    on_wait()
                    if server.answers(self._client):
                        give_up = time.monotonic() + deadline
                        continue
                if time.monotonic() >= give_up:
                    raise deadlines.timed_out(
                        deadline,
                        self._client,
                        f"writing to {' and '.join(self._tables)}",
                    ) from None

    def close(self) -> None:
        """Drops the connection; what is not confirmed is lost."""
        self._writer.close()
