"""Observations as vectors, actions in [-1, 1] or one-hot: offline as online."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from idql_tf.errors import UserError

ACTION_LIMIT = 1.0 - 1e-5
# Of a discrete space: each is a number of every stored action, and always valued.
MOST_ACTIONS = 10_000
_GOAL_KEYS = ("achieved_goal", "observation", "desired_goal")


def key_order(
    available: Sequence[str], wanted: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Decides in which order dict observations are flattened.

    Args:
      available: keys of the observation space.
      wanted: the user's choice, or None for the default: achieved_goal,
        observation, desired_goal for goal environments, else sorted keys.

    Raises:
      UserError: a wanted key is not available, or none or one twice is given.
    """
    if wanted is None:
        goal_environment = set(available) == set(_GOAL_KEYS)
        return _GOAL_KEYS if goal_environment else tuple(sorted(available))
    if isinstance(wanted, str) or not isinstance(wanted, Sequence):
        raise UserError(f"observation_keys is {wanted!r}; expected a list of keys")
    unknown = [key for key in wanted if key not in available]
    if unknown or not wanted or len(set(wanted)) < len(wanted):
        found = unknown[0] if unknown else list(wanted)
        raise UserError(
            f"observation_keys (load_dataset's in gin) names {found!r}; expected "
            f"different keys out of {', '.join(sorted(available)) or 'none'}"
        )
    return tuple(wanted)


def flatten_observation(observation: Any, keys: Sequence[str]) -> np.ndarray:
    """Flattens one observation or a batch into float32 [..., D].

    Args:
      observation: an array [..., D], or a dict of arrays [..., d_k].
      keys: dict keys in the recorded order; () for plain arrays.
    """
    if not keys:
        return np.asarray(observation, np.float32)
    if not isinstance(observation, Mapping):
        raise UserError(
            f"the environment gives {type(observation).__name__} observations; "
            f"expected a dict with {', '.join(keys)}; evaluate in another --env_id"
        )
    parts = [np.asarray(observation[key], np.float32) for key in keys]
    return np.concatenate(parts, axis=-1)


def to_one_hot(actions: np.ndarray, low: float, high: float) -> np.ndarray:
    """Maps discrete actions [..., 1] in {low, ..., high} to one-hot bool [..., A].

    What is none of them becomes zeros.
    """
    return np.asarray(actions) == np.arange(low, high + 1)


def from_one_hot(actions: np.ndarray, low: float) -> np.ndarray:
    """Maps one-hot actions [..., A] to the environment's int64 [...], from `low` up."""
    return np.argmax(actions, axis=-1) + int(low)


def to_unit_action(
    actions: np.ndarray, low: np.ndarray | Sequence[float], high: Any
) -> np.ndarray:
    """Maps environment actions [..., A] to [-1, 1], clipped to +-(1 - 1e-5)."""
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    unit = 2.0 * (np.asarray(actions, np.float32) - low) / (high - low) - 1.0
    return np.clip(unit, -ACTION_LIMIT, ACTION_LIMIT).astype(np.float32)


def to_env_action(
    actions: np.ndarray, low: np.ndarray | Sequence[float], high: Any
) -> np.ndarray:
    """Maps unit actions [..., A] in [-1, 1] to float32 environment units."""
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    unit = np.clip(np.asarray(actions, np.float32), -1.0, 1.0)
    # Rounding may leave the interval by one unit in the last place.
    return np.clip(low + (unit + 1.0) * 0.5 * (high - low), low, high)
