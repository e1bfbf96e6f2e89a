"""The policy on its way from the learner to actors, through TF-Agents' container."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tensorflow as tf

from idql_tf.quiet import filtered_stderr
from idql_tf.replay import deadlines
from idql_tf.replay.library import reverb
from idql_tf.replay.tables import WEIGHTS

with filtered_stderr():
    from tf_agents.experimental.distributed import reverb_variable_container

_Result = TypeVar("_Result")

# What `version` is when there will be no more.
DONE = -1


def signature(variables: Sequence[tf.Variable]) -> dict[str, object]:
    """What the table `weights` holds."""
    specs = [tf.TensorSpec(v.shape, v.dtype) for v in variables]
    return {"version": tf.TensorSpec([], tf.int64), "variables": specs}


class Weights:
    """Variables that a learner publishes and actors follow.

    Args:
      client: of the server.
      variables: of the policy, the same on both sides.
    """

    def __init__(self, client: reverb.Client, variables: Sequence[tf.Variable]) -> None:
        self._client, self._variables = client, list(variables)
        self._container: Any = None

    def publish(self, version: int, seconds: float) -> None:
        """Makes the variables' values what actors find.

        Args:
          version: the learner's environment steps, or `DONE`.
          seconds: how long to wait for the server.

        Raises:
          ReplayTimeout: the server does not answer.
        """
        values = [tf.identity(variable) for variable in self._variables]
        nest = {"version": tf.constant(version, tf.int64), "variables": values}
        self._retried(seconds, "publishing weights", lambda c: c.push(nest, WEIGHTS))

    def pull(self, seconds: float) -> int | None:
        """Takes the published values over.

        Args:
          seconds: how long to wait for the server, for each of two answers.

        Returns:
          Their version; None where nothing has been published.

        Raises:
          ReplayTimeout: the server does not answer.
        """
        what = "looking for weights"
        # Where there are none, a pull would wait for them.
        info = deadlines.retried(
            seconds, self._client, what, lambda: self._client.server_info(timeout=5)
        )
        if not info[WEIGHTS].current_size:
            return None
        found = self._retried(seconds, what, lambda c: c.pull(WEIGHTS))
        for variable, value in zip(self._variables, found["variables"], strict=True):
            variable.assign(value)
        return int(found["version"])

    def _retried(
        self, seconds: float, what: str, call: Callable[[Any], _Result]
    ) -> _Result:
        def attempt() -> _Result:
            if self._container is None:
                self._container = reverb_variable_container.ReverbVariableContainer(
                    self._client.server_address, [WEIGHTS]
                )
            container = self._container
            try:
                return call(container)
            except Exception:
                # It may be that of a server that is gone.
                self._container = None
                raise

        with filtered_stderr():
            return deadlines.retried(seconds, self._client, what, attempt)
