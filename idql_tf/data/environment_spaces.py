"""What `--env_id` tells about data that record no environment."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import gymnasium
import numpy as np
from gymnasium import spaces

from idql_tf.errors import UserError
from idql_tf.quiet import filtered_stderr


@dataclass(frozen=True)
class Environment:
    """An environment named by the user.

    Attributes:
      env_id: its gymnasium id.
      env_spec: JSON of its gymnasium EnvSpec.
      max_episode_steps: its time limit, or None.
      observation_space: its observation space.
      action_space: its action space.
    """

    env_id: str
    env_spec: str
    max_episode_steps: int | None
    observation_space: spaces.Space
    action_space: spaces.Space


def look_up(env_id: str) -> Environment:
    """Finds an environment by its gymnasium id.

    Raises:
      UserError: there is none of that name, or it cannot be made here.
    """
    with filtered_stderr():
        import gymnasium_robotics

        gymnasium.register_envs(gymnasium_robotics)
    if env_id not in gymnasium.registry:
        near = difflib.get_close_matches(env_id, gymnasium.registry, n=3, cutoff=0.5)
        raise UserError(
            f"unknown environment '{env_id}'; expected a gymnasium id"
            + (f", near ones are {', '.join(near)}" if near else "")
            + "; check the spelling of --env_id"
        )
    spec = gymnasium.spec(env_id)
    try:
        with filtered_stderr():
            env = gymnasium.make(spec, disable_env_checker=True)
        env_spec = spec.to_json()
    except (ImportError, ValueError, TypeError, gymnasium.error.Error) as error:
        raise UserError(
            f"environment '{env_id}' cannot be made: {error}; install what it needs "
            f"or choose another --env_id"
        ) from error
    observation_space, action_space = env.observation_space, env.action_space
    env.close()
    return Environment(
        env_id, env_spec, spec.max_episode_steps, observation_space, action_space
    )


def box_bounds(space: spaces.Space, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds (low [A], high [A]) of a continuous action space.

    Raises:
      UserError: the space is not a Box or a bound is infinite or empty.
    """
    if not isinstance(space, spaces.Box):
        raise UserError(
            f"{where} has actions {space}; expected a continuous Box; discrete "
            f"actions are not supported"
        )
    low = space.low.reshape(-1).astype(np.float64)
    high = space.high.reshape(-1).astype(np.float64)
    bad = ~(np.isfinite(low) & np.isfinite(high) & (low < high))
    if bad.any():
        j = int(np.argmax(bad))
        raise UserError(
            f"{where} bounds action dimension {j} by [{low[j]:g}, {high[j]:g}]; "
            f"expected finite, increasing bounds; record a bounded action space"
        )
    return low, high
