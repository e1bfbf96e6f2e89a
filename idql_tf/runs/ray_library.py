"""The one import of Ray, with a word of advice where there is none."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from idql_tf import config
from idql_tf.errors import UserError


@contextlib.contextmanager
def connected() -> Iterator[Any]:
    """Gives the module `ray`, joined to the cluster of RAY_ADDRESS or to a new one.

    A new one has this machine alone, and ends with the context.

    Raises:
      UserError: Ray is not installed, or there is no cluster at RAY_ADDRESS.
    """
    # Said in every process about releases to come.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DISABLE_METRICS_COLLECTION", "1")
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "Ray cannot be imported here; install the extra: pip install -c "
            "requirements.lock '.[cluster]'"
        ) from error
    try:
        ray.init(
            include_dashboard=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": str(config.ROOT)}},
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
