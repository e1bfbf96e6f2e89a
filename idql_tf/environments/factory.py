"""Makes gymnasium environments from an id or from a recorded EnvSpec."""

from __future__ import annotations

import contextlib
import copy
import difflib
import importlib
import json
import pathlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import mujoco
from gymnasium.envs.registration import EnvSpec

from idql_tf.errors import UserError
from idql_tf.quiet import filtered_stderr


def make(env_spec: str) -> gymnasium.Env:
    """Makes the environment that a dataset recorded, or one by its id.

    Gymnasium's checking wrappers are left out: they cost time in every step
    and find faults of environments, not of policies.

    Args:
      env_spec: JSON string of a gymnasium `EnvSpec`, or an environment id such as
        `Hopper-v4`. It may come from a stranger's file, so nothing that is not
        registered is imported or run; see `parse_spec`.

    Returns:
      The environment; episodes end by its own rules and its time limit.

    Raises:
      UserError: the environment is unknown, needs a package that is not
        installed, or cannot be built from the recorded arguments.
    """
    spec = parse_spec(env_spec, may_import=False)
    spec.order_enforce = False
    with quiet():
        try:
            env = gymnasium.make(spec, disable_env_checker=True)
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            raise UserError(
                f"environment '{spec.id}' needs a package that is missing ({error}); "
                "install that package"
            ) from error
        except (
            AssertionError,
            AttributeError,
            LookupError,
            OSError,
            TypeError,
            ValueError,
            gymnasium.error.Error,
        ) as error:
            raise UserError(
                f"environment '{spec.id}' cannot be built from its recorded "
                f"arguments {str(spec.kwargs):.200}: {' '.join(str(error).split())}"
            ) from error
    # Mazes leave a generated model file behind for every environment built.
    leftover = getattr(env.unwrapped, "tmp_xml_file_path", None)
    if leftover:
        pathlib.Path(leftover).unlink(missing_ok=True)
    return env


def parse_spec(env_spec: str, may_import: bool = True) -> EnvSpec:
    """Looks an environment up by its id, or by the id in a spec's JSON.

    An entry point or a wrapper in the JSON would run whatever the file's author
    named, so only the time limit and the arguments are taken from it; the code
    is that of the environment registered under the id.

    Args:
      env_spec: an id, `MODULE:ID`, or JSON of a gymnasium `EnvSpec`.
      may_import: whether the MODULE of `MODULE:ID` is imported: only where a user
        named it, not where a file did.

    Raises:
      UserError: the JSON is not an EnvSpec, no environment has this id, or the
        JSON asks for wrappers.
    """
    register()
    if not env_spec.lstrip().startswith("{"):
        return _look_up(env_spec, may_import)
    try:
        recorded = json.loads(env_spec)
        spec = _registered(str(recorded["id"]))
        spec.kwargs = _arguments(recorded.get("kwargs", spec.kwargs))
        spec.max_episode_steps = _limit(
            recorded.get("max_episode_steps", spec.max_episode_steps)
        )
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"the environment recorded with the data is not a gymnasium EnvSpec "
            f"({error!s:.200}); name one with --env_id"
        ) from error
    wrappers = recorded.get("additional_wrappers") or []
    own = spec.additional_wrappers and json.loads(spec.to_json())["additional_wrappers"]
    if wrappers and wrappers != own:
        raise UserError(
            f"environment '{spec.id}' is recorded with additional_wrappers, which are "
            "never run from a file; register an environment that has them and name "
            "it with --env_id MODULE:ID"
        )
    return spec


def register() -> None:
    """Makes gymnasium-robotics' environments (mazes, Adroit) known, quietly."""
    if "gymnasium_robotics" in sys.modules:
        return
    with filtered_stderr(), quiet():
        import gymnasium_robotics

        gymnasium.register_envs(gymnasium_robotics)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences advice about versions and old models; errors still come through."""
    level = gymnasium.logger.min_level
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    # MuJoCo would also leave a MUJOCO_LOG.TXT in the working directory.
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda _: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            gymnasium.logger.min_level = level
            mujoco.set_mju_user_warning(handler)


def _registered(env_id: str) -> EnvSpec:
    """Returns a copy of the spec registered under exactly this id."""
    if env_id not in gymnasium.registry:
        raise UserError(
            f"environment '{env_id:.100}' recorded with the data is not registered "
            "here, and entry points in files are never run; name an environment with "
            "--env_id ID, or MODULE:ID with the module that registers it"
        )
    return copy.deepcopy(gymnasium.registry[env_id])


def _arguments(kwargs: Any) -> dict[str, Any]:
    if not isinstance(kwargs, dict):
        raise TypeError(f"kwargs {kwargs!r}, expected an object")
    return kwargs


def _limit(steps: Any) -> int | None:
    if steps is not None and (type(steps) is not int or steps < 1):
        raise ValueError(f"max_episode_steps {steps!r}, expected a positive integer")
    return steps


def _look_up(env_id: str, may_import: bool) -> EnvSpec:
    module, _, name = env_id.rpartition(":")
    if module and not may_import:
        return _registered(env_id)
    try:
        with quiet():
            if module:
                importlib.import_module(module)
            return copy.deepcopy(gymnasium.spec(name))
    except ImportError as error:
        raise UserError(
            f"environment '{env_id}' names a module that cannot be imported ({error})"
        ) from error
    except gymnasium.error.Error:
        known = {name.lower(): name for name in gymnasium.registry}
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(known[n] for n in near)}?" if near else ""
        raise UserError(
            f"unknown environment '{env_id}'; {hint or 'expected an id like Hopper-v4'}"
            " (for an environment of your own: MODULE:ID)"
        ) from None
