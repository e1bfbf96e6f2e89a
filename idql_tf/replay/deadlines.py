"""Waits that end: Reverb's own last for ever if a server is gone or a table empty."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from idql_tf.replay import server
from idql_tf.replay.library import reverb

_Result = TypeVar("_Result")


class ReplayTimeout(RuntimeError):
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
        raise timed_out(seconds, client, what)
    return outcome[0]


def timed_out(seconds: float, client: reverb.Client, what: str) -> ReplayTimeout:
    """The error to raise when `what` took more than `seconds`."""
    return ReplayTimeout(
        f"{what}: nothing for {seconds:g} s; {server.describe(client)}"
    )
