"""From the server's `fresh` queue to the learner: every item once."""

from __future__ import annotations

import collections
import functools
import math

import numpy as np

from idql_tf.quiet import filtered_stderr
from idql_tf.replay import deadlines
from idql_tf.replay.layout import pack
from idql_tf.replay.library import reverb
from idql_tf.replay.tables import FRESH


class Feed:
    """Takes what is in `fresh`; there must be no other consumer.

    A server that came back from its checkpoint offers items again that were taken
    before: they are dropped, by their `origin`.

    Args:
      client: of the server.
      deadline_seconds: how long to wait for the server.
    """

    def __init__(self, client: reverb.Client, deadline_seconds: float) -> None:
        self._client, self._deadline = client, deadline_seconds
        self._seen: collections.defaultdict[int, _Numbers] = collections.defaultdict(
            _Numbers
        )

    def take(self, at_least_one: bool = False) -> list[np.ndarray]:
        """Takes all items waiting, as packed rows [E, S, W].

        Args:
          at_least_one: wait for an item if there is none.

        Raises:
          ReplayTimeout: the server does not answer, or no item comes.
        """
        what = "taking new transitions"
        call = functools.partial(self._sample, at_least_one)
        try:
            # Held here and not in the thread, which may be left behind.
            with filtered_stderr():
                items = deadlines.within(self._deadline, self._client, what, call)
        except (reverb.errors.ReverbError, RuntimeError) as error:
            if isinstance(error, deadlines.ReplayTimeout):
                raise
            raise deadlines.timed_out(self._deadline, self._client, what) from error
        return [pack(item) for item in items if self._is_new(*item["origin"])]

    def _sample(self, at_least_one: bool) -> list[dict[str, np.ndarray]]:
        timeout = max(1, math.ceil(self._deadline))
        waiting = self._client.server_info(timeout=timeout)[FRESH]
        # Asked for one more than there is, the generator would wait for it.
        count = max(waiting.current_size, int(at_least_one))
        if not count:
            return []
        samples = self._client.sample(
            FRESH,
            count,
            emit_timesteps=False,
            unpack_as_table_signature=True,
        )
        return [sample.data for sample in samples]

    def _is_new(self, actor: np.int64, number: np.int64) -> bool:
        return self._seen[int(actor)].add(int(number))


class _Numbers:
    """Numbers seen, nearly in order: after a reconnection Reverb mixes some up."""

    # Many times what a writer has on its way.
    _WINDOW = 10_000

    def __init__(self) -> None:
        self._all_below = 0
        self._above: set[int] = set()

    def add(self, number: int) -> bool:
        """Notes a number; returns whether it was new."""
        if number < self._all_below or number in self._above:
            return False
        self._above.add(number)
        # A number that never comes was lost with a server.
        if len(self._above) > self._WINDOW:
            self._all_below = min(self._above)
        while self._all_below in self._above:
            self._above.remove(self._all_below)
            self._all_below += 1
        return True
