"""From the server's `fresh` queue to the learner: every item once."""

from __future__ import annotations

import collections
import math
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from idql_tf.quiet import filtered_stderr
from idql_tf.replay import deadlines
from idql_tf.replay.layout import ITEM, Item
from idql_tf.replay.library import reverb
from idql_tf.replay.tables import FRESH, RECENT

# A look at the queue that is not answered for so long is left to itself.
_LEAVE_AFTER_SECONDS = 5.0
_TELL_EVERY_SECONDS = 5.0
# Items asked for at once: a request of many takes as long as they do.
_AT_ONCE = 1_000
# Items on their way at a time: so many may be lost to the queue with a connection.
_ON_WAY = 32


class Feed:
    """Takes what is in `fresh`; there must be no other consumer.

    What was on its way when a connection broke is in `online` and `recent` alone; the
    next learner's `recover` finds it.
    A server that came back from its checkpoint offers items again that were taken
    before: they are dropped, by their `origin`. A server may be gone or stand still
    for as long as the deadline.

    Args:
      client: of the server.
      deadline_seconds: how long to wait for items.
    """

    def __init__(self, client: reverb.Client, deadline_seconds: float) -> None:
        self._client, self._deadline = client, deadline_seconds
        self._inbox: collections.deque[Item] = collections.deque()
        self._seen: collections.defaultdict[int, _Numbers] = collections.defaultdict(
            _Numbers
        )
        self._look_began = -math.inf
        self._looking = threading.Thread()

    def know(self, origins: np.ndarray) -> None:
        """Counts items as taken before, by their origins [n, 3]."""
        for actor, number in origins[:, :2].tolist():
            if actor not in self._seen:
                self._seen[actor] = _Numbers(number)
            self._seen[actor].add(number)

    def recover(self, on_progress: Callable[[int, int], None]) -> int:
        """Finds in `recent` what is not known; `wait` gives it first.

        Draws so often that an item is missed once in a thousand times; it is not lost
        to `online` then.

        Args:
          on_progress: called with the number of draws taken and of all; what it
            raises ends it.

        Returns:
          How many items were found.

        Raises:
          ReplayTimeout: the server does not answer.
        """
        what = "finding what was taken and not saved"
        found: dict[tuple[int, int], Item] = {}

        def draw(count: int) -> list[Item]:
            return deadlines.within(
                self._deadline,
                self._client,
                what,
                lambda: list(self._draw(RECENT, count)),
            )

        with filtered_stderr():
            size = deadlines.within(
                self._deadline, self._client, what, lambda: self._size(RECENT)
            )
            # Of n items, k n draws miss any one with a chance of exp(-k).
            total = math.ceil(size * (math.log(1_000 * size) if size else 0))
            for taken in range(0, total, _AT_ONCE):
                for item in draw(min(_AT_ONCE, total - taken)):
                    found.setdefault(tuple(item["origin"][:2]), item)
                on_progress(taken, total)
        unknown = [item for _, item in sorted(found.items()) if not self._knows(item)]
        self._inbox.extend(unknown)
        return len(unknown)

    def wait(
        self,
        most: int = _AT_ONCE,
        stopped: Callable[[], bool] = lambda: False,
        on_wait: Callable[[], None] = lambda: None,
    ) -> list[Item]:
        """Takes items that wait, or the first that come.

        Args:
          most: how many at most.
          stopped: ends the wait, with nothing taken, when it says so.
          on_wait: called every few seconds of a wait.

        Raises:
          ReplayTimeout: none came within the deadline; the message tells the tables'
            state.
        """
        began = told = time.monotonic()
        with filtered_stderr():
            while not stopped():
                if not self._inbox:
                    self._look(most)
                waiting = range(min(most, len(self._inbox)))
                items = [self._inbox.popleft() for _ in waiting]
                if taken := [item for item in items if self._is_new(item)]:
                    return taken
                now = time.monotonic()
                if now - told > _TELL_EVERY_SECONDS:
                    on_wait()
                    told = now
                if now - began > self._deadline:
                    raise deadlines.timed_out(
                        self._deadline,
                        self._client,
                        "waiting for new transitions (is an actor running?)",
                    )
        return []

    def _look(self, most: int) -> None:
        """Lets a thread of its own look, for Reverb may leave it waiting for ever.

        Where the server only stood still, such a thread still brings what it took.
        """
        now = time.monotonic()
        left = now - self._look_began > _LEAVE_AFTER_SECONDS
        if left or not self._looking.is_alive():
            self._looking = threading.Thread(
                target=self._fetch, args=(most,), daemon=True
            )
            self._look_began = now
            self._looking.start()
        self._looking.join(0.1)

    def _fetch(self, most: int) -> None:
        try:
            # Asked for more than there is, it would wait for the rest.
            count = min(most, self._size(FRESH))
            # Another may have begun meanwhile, and take what this one counts on.
            if self._looking is not threading.current_thread():
                return
            # Item by item: what came before a connection broke is taken.
            self._inbox.extend(self._draw(FRESH, count))
            time.sleep(0.0 if count else 0.002)
        except (reverb.errors.ReverbError, RuntimeError):
            # No server at the moment.
            time.sleep(0.1)

    def _size(self, table: str) -> int:
        timeout = max(1, math.ceil(self._deadline))
        return self._client.server_info(timeout=timeout)[table].current_size

    def _draw(self, table: str, count: int) -> Iterator[Item]:
        if not count:
            return
        # `Client.sample` has one on its way at a time, which takes 7 times as long.
        on_way = min(count, _ON_WAY)
        sampler = self._client._client.NewSampler(table, count, on_way)
        for _ in range(count):
            columns = sampler.GetNextTrajectory()[len(reverb.SampleInfo._fields) :]
            yield dict(zip(ITEM, columns, strict=True))

    def _knows(self, item: Item) -> bool:
        actor, number = item["origin"][:2].tolist()
        return number in self._seen[actor]

    def _is_new(self, item: Item) -> bool:
        actor, number = item["origin"][:2].tolist()
        return self._seen[actor].add(number)


class _Numbers:
    """Numbers seen, nearly in order: after a reconnection Reverb mixes some up."""

    # Many times what a writer has on its way.
    _WINDOW = 10_000

    def __init__(self, first: int = 0) -> None:
        self._all_below = first
        self._above: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number < self._all_below or number in self._above

    def add(self, number: int) -> bool:
        """Notes a number; returns whether it was new."""
        if number in self:
            return False
        self._above.add(number)
        # A number that never comes was lost with a server.
        if len(self._above) > self._WINDOW:
            self._all_below = min(self._above)
        while self._all_below in self._above:
            self._above.remove(self._all_below)
            self._all_below += 1
        return True
