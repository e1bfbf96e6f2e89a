"""Gymnasium environments as TF-Agents' `PyEnvironment`s.

TF-Agents 0.19 has an adapter for gym only, and that one takes every end of an
episode for a termination. This is the one module of the room that imports
TensorFlow.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from idql_tf.environments import factory
from idql_tf.errors import UserError, check_count
from idql_tf.quiet import filtered_stderr

with filtered_stderr():
    from tf_agents.environments import batched_py_environment, py_environment
    from tf_agents.specs import BoundedArraySpec
    from tf_agents.trajectories import time_step as ts
    from tf_agents.typing import types


class GymnasiumEnvironment(py_environment.PyEnvironment):
    """One gymnasium environment behind TF-Agents' interface.

    Observations and actions keep the structure of their spaces: a dict for a Dict,
    a tuple for a Tuple. Floats are float32, integers keep the dtype of their space.
    The step after a LAST one starts the next episode and ignores its action, so a
    LAST step shows the observation in which the episode ended.

    Args:
      env: the environment; its episodes end by its own rules and wrappers alone.
      discount: of every step that does not terminate, in [0, 1]. 1 leaves
        discounting to the critic.
      seed: passed to the environment by the first reset.

    Raises:
      UserError: `discount` is none, or the spaces have no array specs.
    """

    def __init__(
        self, env: gymnasium.Env, discount: float = 1.0, seed: int | None = None
    ) -> None:
        super().__init__(handle_auto_reset=True)
        if not 0.0 <= discount <= 1.0:
            raise UserError(f"discount is {discount}; expected a number from 0 to 1")
        self._env = env
        self._discount = float(discount)
        self._observation_spec = _spec(env.observation_space, "observation")
        self._action_spec = _spec(env.action_space, "action")
        self._info: dict[str, Any] = {}
        self.seed(seed)

    @property
    def gymnasium_env(self) -> gymnasium.Env:
        """The environment behind this one, with its wrappers."""
        return self._env

    def observation_spec(self) -> types.NestedArraySpec:
        """Specs of an observation, with the bounds of its space."""
        return self._observation_spec

    def action_spec(self) -> types.NestedArraySpec:
        """Specs of an action, with the bounds of its space."""
        return self._action_spec

    def seed(self, seed: int | None) -> None:
        """Keeps a seed for the next reset; the resets after it draw on from there."""
        self._seed = None if seed is None else int(seed)

    def get_info(self) -> dict[str, Any]:
        """What the last step or reset told beside the observation."""
        return self._info

    def render(self, mode: str = "rgb_array") -> Any:
        """Renders in the mode that the environment was made with.

        Raises:
          NotImplementedError: it was made with another one, or with none.
        """
        if mode != self._env.render_mode:
            raise NotImplementedError(
                f"the environment was made with render_mode {self._env.render_mode!r}; "
                f"expected {mode!r}; make it with gymnasium.make(..., "
                f"render_mode={mode!r})"
            )
        return self._env.render()

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def _reset(self) -> ts.TimeStep:
        seed, self._seed = self._seed, None
        observation, self._info = self._env.reset(seed=seed)
        return ts.restart(_observation(observation, self._env.observation_space))

    def _step(self, action: types.NestedArray) -> ts.TimeStep:
        found, reward, terminated, truncated, self._info = self._env.step(
            _action(action, self._env.action_space)
        )
        observation = _observation(found, self._env.observation_space)
        # A goal reached in the very last step is reached: terminated goes first.
        if terminated:
            return ts.termination(observation, float(reward))
        if truncated:
            return ts.truncation(observation, float(reward), self._discount)
        return ts.transition(observation, float(reward), self._discount)


def load(
    env_id: str, discount: float = 1.0, seed: int | None = None
) -> GymnasiumEnvironment:
    """Makes an environment for TF-Agents.

    Args:
      env_id: `ID`, `MODULE:ID` (the MODULE is imported: only where a user named it),
        or the JSON of an EnvSpec as a dataset records it.
      discount: see `GymnasiumEnvironment`.
      seed: see `GymnasiumEnvironment`.

    Raises:
      UserError: there is no such environment, it cannot be made here, or TF-Agents
        cannot take it.
    """
    recorded = env_id.lstrip().startswith("{")
    env = factory.make(env_id if recorded else factory.parse_spec(env_id).id)
    return GymnasiumEnvironment(env, discount, seed)


def load_batch(
    env_id: str,
    num_environments: int,
    discount: float = 1.0,
    seed: int | None = None,
) -> batched_py_environment.BatchedPyEnvironment:
    """Makes B environments that are stepped together, one after the other.

    Args:
      env_id: see `load`.
      num_environments: B.
      discount: see `GymnasiumEnvironment`.
      seed: decides the seeds of all of them, which differ; None draws it.

    Raises:
      UserError: as `load`, or B is less than 1.
    """
    check_count("num_environments", num_environments)
    seeds = np.random.SeedSequence(seed).generate_state(num_environments)
    return batched_py_environment.BatchedPyEnvironment(
        [load(env_id, discount, int(one)) for one in seeds], multithreading=False
    )


def _spec(space: spaces.Space, name: str) -> types.NestedArraySpec:
    """Gives the array specs of a space, named by the path to them."""
    match space:
        case spaces.Dict():
            return {
                key: _spec(part, f"{name}/{key}") for key, part in space.spaces.items()
            }
        case spaces.Tuple():
            return tuple(_spec(part, f"{name}/{i}") for i, part in enumerate(space))
        case spaces.Box():
            low, high = space.low, space.high
        case spaces.Discrete():
            low, high = space.start, space.start + space.n - 1
        case spaces.MultiDiscrete():
            low, high = space.start, space.start + space.nvec - 1
        case spaces.MultiBinary():
            low, high = 0, 1
        case _:
            raise UserError(
                f"the environment's {name} space is {space}; expected Box, Discrete, "
                "MultiDiscrete, MultiBinary, or a Dict or Tuple of these; wrap the "
                "environment"
            )
    dtype = _dtype(space)
    if np.issubdtype(dtype, np.floating):
        # Rounding is monotonic: what is within its bounds, and not too large for a
        # float32, stays within them.
        limits = np.finfo(dtype)
        low, high = (np.clip(x, limits.min, limits.max) for x in (low, high))
    return BoundedArraySpec(space.shape, dtype, low, high, name)


def _dtype(space: spaces.Space) -> np.dtype:
    is_float = np.issubdtype(space.dtype, np.floating)
    return np.dtype(np.float32 if is_float else space.dtype)


def _observation(value: Any, space: spaces.Space) -> types.NestedArray:
    """Copies an observation into arrays that fit the specs of its space."""
    if isinstance(space, spaces.Dict):
        return {key: _observation(value[key], part) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(map(_observation, value, space))
    # A copy: some environments write every observation into the same array.
    return np.array(value, _dtype(space))


def _action(value: Any, space: spaces.Space) -> Any:
    """Gives the action as the environment takes it, Boxes clipped to their bounds.

    Raises:
      ValueError: the action is not finite, has another shape, or is no value of a
        discrete space.
    """
    if isinstance(space, spaces.Dict):
        return {key: _action(value[key], part) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(map(_action, value, space))
    array = np.asarray(value)
    if array.shape != space.shape or not np.isfinite(array).all():
        raise ValueError(
            f"found action {value}; expected finite numbers of shape {space.shape}; "
            "check what the policy computes and whether it acts on a batch"
        )
    if isinstance(space, spaces.Box):
        # In the space's own dtype, so that no rounding leaves the bounds again.
        return np.clip(array.astype(space.dtype), space.low, space.high)
    if not space.contains(array):
        raise ValueError(
            f"found action {value}; expected one of {space}; give the policy the "
            "environment's action_spec()"
        )
    # A scalar, since environments with tables look up Discrete actions as keys.
    return array[()]
