"""Preprocessing inside the graph: observations as vectors, unit or one-hot actions.

The same as `idql_tf.data.preprocessing`, which acts on NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tf_agents.specs import tensor_spec
from tf_agents.typing import types

from idql_tf.data import preprocessing
from idql_tf.errors import UserError


class Spaces:
    """Maps between TF-Agents' specs and what the networks take.

    Args:
      observation_spec: a TensorSpec, or a dict of them.
      action_spec: a float BoundedTensorSpec of shape [A] with finite bounds, or an
        integer one of shape [], which numbers discrete actions.
      observation_keys: order in which a dict is flattened; None takes the order of
        `idql_tf.data` (goal environments: achieved_goal, observation, desired_goal).

    Attributes:
      observation_keys: the order; () for a plain observation.
      observation_size: D.
      discrete: whether actions are discrete.
      action_size: A, the number of dimensions or of discrete actions.
      low: lower action bounds [A], environment units; the number of the first of
        discrete actions, [1].
      high: upper action bounds [A], or the number of the last, [1].

    Raises:
      UserError: a spec is of another kind, or a key is not in the observation.
    """

    def __init__(
        self,
        observation_spec: types.NestedTensorSpec,
        action_spec: types.NestedTensorSpec,
        observation_keys: Sequence[str] | None = None,
    ) -> None:
        if isinstance(observation_spec, dict):
            self.observation_keys = preprocessing.key_order(
                [*observation_spec], observation_keys
            )
        else:
            self.observation_keys = ()
        parts = self._parts(observation_spec)
        if not parts or not all(map(_is_real, parts)):
            raise UserError(
                f"the observation spec is {observation_spec}; expected a TensorSpec of "
                "real numbers and known, positive sizes, or a dict of them"
            )
        self._shapes = [[None, *part.shape] for part in parts]
        self.observation_size = sum(part.shape.num_elements() for part in parts)
        self.discrete = _is_discrete(action_spec)
        if self.discrete:
            self.low, self.high = _discrete_bounds(action_spec)
            self.action_size = int(self.high[0] - self.low[0]) + 1
        else:
            self.low, self.high = _bounds(action_spec)
            self.action_size = len(self.low)
        is_int32 = action_spec.dtype == tf.int32
        # argmax gives these two alone.
        self._number_dtype = tf.int32 if is_int32 else tf.int64

    def flatten(self, observation: types.NestedTensor) -> tf.Tensor:
        """Joins an observation [B, ...], or a dict of them, to float32 [B, D]."""
        given = map(tf.convert_to_tensor, self._parts(observation))
        parts = [
            tf.cast(
                tf.reshape(tf.ensure_shape(part, shape), [tf.shape(part)[0], -1]),
                tf.float32,
            )
            for part, shape in zip(given, self._shapes, strict=True)
        ]
        joined = parts[0] if len(parts) == 1 else tf.concat(parts, -1)
        return tf.ensure_shape(joined, [None, self.observation_size])

    def to_env_action(self, action: tf.Tensor) -> tf.Tensor:
        """Maps unit actions [..., A] in [-1, 1] to environment units.

        One-hot ones become numbers, int32 or int64 [...].
        """
        if self.discrete:
            index = tf.argmax(action, -1, output_type=self._number_dtype)
            return index + tf.cast(self.low[0], self._number_dtype)
        action = tf.cast(action, tf.float32)
        scaled = self.low + (action + 1.0) * 0.5 * (self.high - self.low)
        # Rounding may leave the interval by one unit in the last place.
        return tf.clip_by_value(scaled, self.low, self.high)

    def to_unit_action(self, action: tf.Tensor) -> tf.Tensor:
        """Maps environment actions [..., A] to [-1, 1], clipped to +-(1 - 1e-5).

        Numbers [...] of discrete actions become one-hot.
        """
        if self.discrete:
            index = tf.cast(action, tf.int64) - int(self.low[0])
            return tf.one_hot(index, self.action_size)
        action = tf.cast(action, tf.float32)
        unit = 2.0 * (action - self.low) / (self.high - self.low) - 1.0
        limit = preprocessing.ACTION_LIMIT
        return tf.clip_by_value(unit, -limit, limit)

    def _parts(self, observation: Any) -> list:
        if not self.observation_keys:
            return [observation]
        return [observation[key] for key in self.observation_keys]


def _is_real(spec: object) -> bool:
    return (
        isinstance(spec, tf.TensorSpec)
        and bool(spec.shape.num_elements())
        and (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool)
    )


def _is_discrete(spec: types.NestedTensorSpec) -> bool:
    return (
        isinstance(spec, tensor_spec.BoundedTensorSpec)
        and spec.dtype.is_integer
        and spec.shape.rank == 0
    )


def _discrete_bounds(
    spec: tensor_spec.BoundedTensorSpec,
) -> tuple[np.ndarray, np.ndarray]:
    low, high = int(spec.minimum), int(spec.maximum)
    most = preprocessing.MOST_ACTIONS
    if not 2 <= high - low + 1 <= most:
        raise UserError(
            f"the action spec numbers actions from {low} to {high}; expected 2 to "
            f"{most:,} actions"
        )
    return np.array([low], np.float32), np.array([high], np.float32)


def _bounds(spec: types.NestedTensorSpec) -> tuple[np.ndarray, np.ndarray]:
    if (
        not isinstance(spec, tensor_spec.BoundedTensorSpec)
        or not spec.dtype.is_floating
        or spec.shape.rank != 1
        or not spec.shape[0]
    ):
        raise UserError(
            f"the action spec is {spec}; expected one bounded float vector [A], or one "
            "bounded integer of discrete actions"
        )
    low, high = (
        np.broadcast_to(bound, spec.shape).astype(np.float32)
        for bound in (spec.minimum, spec.maximum)
    )
    # An unbounded gym space has the largest float32 as its bound.
    with np.errstate(over="ignore"):
        if not (np.isfinite(high - low) & (low < high)).all():
            raise UserError(
                f"the action spec is bounded by {low} and {high}; expected finite, "
                "increasing bounds"
            )
    return low, high
