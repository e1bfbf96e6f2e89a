"""What `--env_id` tells about data that record no environment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from idql_tf.data.preprocessing import MOST_ACTIONS
from idql_tf.data.source import ActionBounds
from idql_tf.environments import factory
from idql_tf.errors import UserError


@dataclass(frozen=True)
class Environment:
    """An environment named by the user.

    Attributes:
      spec: its gymnasium EnvSpec.
      env_spec: the spec as JSON.
      observation_space: its observation space.
      action_space: its action space.
    """

    spec: EnvSpec
    env_spec: str
    observation_space: spaces.Space
    action_space: spaces.Space


def look_up(env_id: str) -> Environment:
    """Finds an environment by its id, `ID` or `MODULE:ID`.

    Raises:
      UserError: there is none of that name, it cannot be made here, or its
        arguments cannot be stored with a run.
    """
    spec = factory.parse_spec(env_id)
    try:
        env_spec = spec.to_json()
    except (TypeError, ValueError) as error:
        raise UserError(
            f"environment '{env_id}' cannot be stored with a run: {error}; register "
            f"it with entry_point='module:Class' and plain arguments"
        ) from error
    env = factory.make(env_spec)
    observation_space, action_space = env.observation_space, env.action_space
    env.close()
    return Environment(spec, env_spec, observation_space, action_space)


def action_bounds(space: spaces.Space, where: str) -> ActionBounds:
    """Returns the bounds of an action space, a Box or a Discrete.

    Raises:
      UserError: the space is another, has no choice of actions, or a bound is infinite
        or empty.
    """
    if isinstance(space, spaces.Discrete):
        return _discrete_bounds(space, where)
    if not isinstance(space, spaces.Box):
        raise UserError(
            f"{where} has actions {space}; expected a continuous Box or a Discrete; "
            f"number the combinations of actions from 0"
        )
    low = space.low.reshape(-1).astype(np.float64)
    high = space.high.reshape(-1).astype(np.float64)
    if not low.size:
        raise UserError(
            f"{where} has actions of 0 numbers; expected at least 1; record actions"
        )
    bad = ~(np.isfinite(low) & np.isfinite(high) & (low < high))
    if bad.any():
        j = int(np.argmax(bad))
        raise UserError(
            f"{where} bounds action dimension {j} by [{low[j]:g}, {high[j]:g}]; "
            f"expected finite, increasing bounds; record a bounded action space"
        )
    return ActionBounds(low, high)


def _discrete_bounds(space: spaces.Discrete, where: str) -> ActionBounds:
    number, start = int(space.n), int(space.start)
    if not 2 <= number <= MOST_ACTIONS:
        raise UserError(
            f"{where} has {number} actions; expected 2 to {MOST_ACTIONS:,}; choose "
            f"another environment"
        )
    low, high = np.array([start]), np.array([start + number - 1])
    return ActionBounds(low.astype(np.float64), high.astype(np.float64), discrete=True)
