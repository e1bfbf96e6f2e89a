"""Makes gymnasium environments from an id or from a recorded EnvSpec."""

from __future__ import annotations

import contextlib
import copy
import difflib
import importlib
import pathlib
import sys
import warnings
from collections.abc import Iterator

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
        `Hopper-v4` or `my_package:MyEnv-v0`. The time limit
        and the arguments in the JSON are kept.

    Returns:
      The environment; episodes end by its own rules and its time limit.

    Raises:
      UserError: the environment is unknown, needs a package that is not
        installed, or cannot be built from the recorded arguments.
    """
    spec = parse_spec(env_spec)
    spec.order_enforce = False
    with quiet():
        try:
            env = gymnasium.make(spec, disable_env_checker=True)
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            raise UserError(
                f"environment '{spec.id}' needs a package that is missing ({error}); "
                "install that package"
            ) from error
        except (TypeError, ValueError, gymnasium.error.Error) as error:
            raise UserError(
                f"environment '{spec.id}' cannot be built from its recorded "
                f"arguments {spec.kwargs}: {error}"
            ) from error
    # Mazes leave a generated model file behind for every environment built.
    leftover = getattr(env.unwrapped, "tmp_xml_file_path", None)
    if leftover:
        pathlib.Path(leftover).unlink(missing_ok=True)
    return env


def parse_spec(env_spec: str) -> EnvSpec:
    """Reads a spec from its JSON, or looks an environment id up.

    Raises:
      UserError: the JSON is not an EnvSpec, or no environment has this id.
    """
    if env_spec.lstrip().startswith("{"):
        register()
        try:
            return EnvSpec.from_json(env_spec)
        except (TypeError, KeyError, ValueError, gymnasium.error.Error) as error:
            raise UserError(
                f"the environment recorded with the data is not a gymnasium EnvSpec "
                f"({error}); name one with --env_id"
            ) from error
    return _look_up(env_spec)


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


def _look_up(env_id: str) -> EnvSpec:
    register()
    module, _, name = env_id.rpartition(":")
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
