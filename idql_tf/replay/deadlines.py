"""Waits that end: Reverb's own last for ever if a server is gone or a table empty."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

from idql_tf.errors import Failure
from idql_tf.replay import server
from idql_tf.replay.library import reverb

_Result = TypeVar("_Result")

_ATTEMPT_SECONDS = 10.0


class ReplayTimeout(Failure):
    """The server did not do within the deadline what was asked of it."""


def within(
    seconds: float, client: reverb.Client, what: str, call: Callable[[], _Result]
) -> _Result:
    """Runs a call that may block, for so long.

    Args:
      seconds: the deadline.
      client: of the server that is asked, for the message.
      what: what is waited for, for the message.
      call: is left behind in a daemon thread if it does not return.

    Raises:
      ReplayTimeout: it did not return; the message tells the tables' state.
      Exception: what the call raised.
    """
    try:
        return _in_thread(seconds, call)
    except _Silence:
        raise timed_out(seconds, client, what) from None


def retried(
    seconds: float, client: reverb.Client, what: str, call: Callable[[], _Result]
) -> _Result:
    """As `within`, for what can be done twice: goes on after errors, and after silence.

    A server that is killed and comes back, or stands still, is waited for.

    Raises:
      ReplayTimeout: it never succeeded.
    """
    give_up = time.monotonic() + seconds
    while True:
        left = max(0.0, give_up - time.monotonic())
        try:
            return _in_thread(min(left, _ATTEMPT_SECONDS), call)
        except (
            _Silence,
            reverb.errors.ReverbError,
            tf.errors.OpError,
            RuntimeError,
        ) as error:
            if not left:
                last = " ".join(str(error).split())
                what = f"{what} (last: {last:.120})" if last else what
                raise timed_out(seconds, client, what) from None
            time.sleep(min(left, 0.2))


def timed_out(seconds: float, client: reverb.Client, what: str) -> ReplayTimeout:
    """The error to raise when `what` took more than `seconds`."""
    return ReplayTimeout(
        f"{what}: nothing for {seconds:g} s; {server.describe(client)}"
    )


class _Silence(Exception):
    """A call did not return."""


def _in_thread(seconds: float, call: Callable[[], _Result]) -> _Result:
    outcome: list[_Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # noqa: BLE001 - handed on to the caller
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise _Silence
    return outcome[0]
