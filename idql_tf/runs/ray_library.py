"""The one import of Ray, with a word of advice where there is none."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from idql_tf import config
from idql_tf.errors import Failure, UserError
from idql_tf.quiet import import_quietly

_END_SECONDS = 60.0
_MOST_RETRIES = 20


@contextlib.contextmanager
def connected() -> Iterator[Any]:
    """Gives the module `ray`, joined to the cluster of RAY_ADDRESS, else to a new one.

    A new one has this machine alone, and ends with the context.

    Raises:
      UserError: Ray is not installed, or there is no cluster at RAY_ADDRESS.
    """
    os.environ.setdefault("RAY_DISABLE_METRICS_COLLECTION", "1")
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "Ray cannot be imported here; install the extra: pip install -c "
            "requirements.lock '.[cluster]'"
        ) from error
    try:
        warnings.filterwarnings("ignore", message="Pydantic v1", module="ray")
        ray.init(
            # Without it Ray would join whatever runs on this machine.
            os.environ.get("RAY_ADDRESS", "local"),
            include_dashboard=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": _environment()},
        )
    except ConnectionError as error:
        raise UserError(
            f"no Ray cluster answers at RAY_ADDRESS={os.environ.get('RAY_ADDRESS')} "
            f"({' '.join(str(error).split()):.120}); start it or unset RAY_ADDRESS"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _environment() -> dict[str, str]:
    """What the processes need of ours: the package, and where datasets are."""
    kept = {n: v for n, v in os.environ.items() if n == "MINARI_DATASETS_PATH"}
    return kept | {"PYTHONPATH": str(config.ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}


def check_room(ray: Any, **wanted: float) -> None:
    """Refuses what the cluster as a whole cannot place; Ray would wait for ever.

    Raises:
      UserError: so.
    """
    there = ray.cluster_resources()
    for name, amount in wanted.items():
        if amount > there.get(name, 0.0):
            raise UserError(
                f"this needs {amount:g} {name} of the Ray cluster, which has "
                f"{there.get(name, 0.0):g}; ask for less (gin cluster.*), or add nodes"
            )


def run_as_task(ray: Any) -> Any:
    """A Ray task that runs MODULE.FUNCTION of `idql_tf.runs`, again if it dies."""
    directory = os.getcwd()

    def task(name: str, *arguments: Any) -> int:
        return _run(directory, name, *arguments)

    # A process each: what a failed one leaves running ends with it.
    again = {"max_retries": _MOST_RETRIES, "retry_exceptions": [Failure]}
    return ray.remote(max_calls=1, **again)(task)


def _run(directory: str, name: str, *arguments: Any) -> int:
    # Arguments may name files from where the user is.
    os.chdir(directory)
    import_quietly()
    module, _, function = name.partition(".")
    return getattr(importlib.import_module(f"idql_tf.runs.{module}"), function)(
        *arguments
    )


def result(ray: Any, task: Any) -> int:
    """What a task returned; its own exception, without Ray's wrapping, if it failed."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def end(ray: Any, tasks: Sequence[Any]) -> bool:
    """Ends tasks as by Ctrl-C, for they save and resume; returns whether all ended."""
    for task in tasks:
        ray.cancel(task)
    _, left = ray.wait(list(tasks), num_returns=len(tasks), timeout=_END_SECONDS)
    return not left
