"""Converts an `IdqlPolicy` to TFLite, for devices without TensorFlow."""

from __future__ import annotations

import tempfile

import numpy as np
import tensorflow as tf

from idql_tf.errors import UserError
from idql_tf.export.saved_model import Outputs, outputs, quiet
from idql_tf.policies import IdqlPolicy
from idql_tf.policies.checks import finite_rows, where_rows
from idql_tf.policies.spaces import Spaces


def check_method(extraction: str) -> None:
    """Refuses a choice that TFLite models cannot make.

    Raises:
      UserError: it is not argmax.
    """
    if extraction != "argmax":
        raise UserError(
            f"TFLite models choose by argmax, found extraction '{extraction}'; "
            "export with --extraction argmax"
        )


def convert(policy: IdqlPolicy, float16: bool) -> bytes:
    """Converts the argmax policy of one observation; weights float32 or float16.

    TFLite has neither stateless random numbers nor assertions. So there are two
    signatures, and a non-finite observation gives `safe_action` or, without one, an
    action of NaN (of discrete actions, the number before the first); `q_value` and
    `value` are NaN either way:

    serving_default: observation float32 [1, D] -> action [1, A], q_value [1], value
      [1]; draws afresh at every call.
    with_noise: the same with noise float32 [S, num_draws, N, A], standard normal; a
      function of its inputs. Not of discrete actions, which are not drawn.

    Raises:
      UserError: the policy does not choose by argmax.
    """
    check_method(policy.extraction)
    with tempfile.TemporaryDirectory() as folder, quiet():
        module = _OneObservation(policy)
        signatures = {"serving_default": module.act}
        if draws(policy):
            signatures["with_noise"] = module.with_noise
        tf.saved_model.save(module, folder, signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[*signatures]
        )
        if float16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def draws(policy: IdqlPolicy) -> bool:
    """Tells whether a policy's candidates are made of noise."""
    return policy.noise_shape[1] > 0


class _OneObservation(tf.Module):
    def __init__(self, policy: IdqlPolicy) -> None:
        super().__init__(name="one_observation")
        self._weights = policy.variables()
        self._best_of = policy.best_of
        self._noise_shape = policy.noise_shape
        safe = policy.safe_action
        self._fallback = _no_action(policy.spaces) if safe is None else safe
        self._draws = draws(policy)
        size = policy.spaces.observation_size
        observation = tf.TensorSpec([1, size], tf.float32, "observation")
        noise = tf.TensorSpec(self._noise_shape, tf.float32, "noise")
        self.act = tf.function(self._act, [observation], autograph=False)
        self.with_noise = tf.function(
            self._with_noise, [observation, noise], autograph=False
        )

    def _with_noise(self, observation: tf.Tensor, noise: tf.Tensor) -> Outputs:
        # TFLite's argmax of NaN is no index: the networks see finite numbers only.
        finite = finite_rows(observation)
        known = tf.where(finite[:, None], observation, 0.0)
        found = outputs(self._best_of(known, noise))
        unknown = tf.where(finite, 0.0, np.nan)
        return {
            "action": where_rows(finite, found["action"], self._fallback),
            "q_value": found["q_value"] + unknown,
            "value": found["value"] + unknown,
        }

    def _act(self, observation: tf.Tensor) -> Outputs:
        make = tf.random.normal if self._draws else tf.zeros
        return self._with_noise(observation, make(self._noise_shape))


def _no_action(spaces: Spaces) -> np.ndarray:
    """What no environment takes for an action."""
    return spaces.low[0] - 1 if spaces.discrete else spaces.low + np.nan
