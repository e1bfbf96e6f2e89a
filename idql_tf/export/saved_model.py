"""Writes an `IdqlPolicy` as a SavedModel that needs TensorFlow alone."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import warnings
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)
from tf_agents.policies import policy_saver
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from idql_tf.behavior.updates import Behavior
from idql_tf.critic.updates import Critic
from idql_tf.extraction import Extraction
from idql_tf.nn import dense, fused
from idql_tf.policies import IdqlPolicy
from idql_tf.policies.idql_policy import Extract
from idql_tf.quiet import filtered_stderr

Outputs = dict[str, tf.Tensor]


def write(policy: IdqlPolicy, directory: pathlib.Path) -> None:
    """Saves a policy with these signatures (all of a batch of B observations).

    serving_default: observation float32 [B, D] -> action [B, A] in environment units
      (of discrete actions its number, int64 [B]), q_value [B], value [B]; draws afresh
      at every call.
    sample: observation, num_candidates int32 [], temperature float32 [], seed int64 []
      -> the same and action_spread [B]; a function of its inputs. Zero takes the
      exported number of candidates, or choice; a temperature above zero chooses by
      softmax(temperature x advantage).
    dict: one float32 [B, ...] per key of a dict observation -> as serving_default;
      only where the environment has dict observations.
    action, get_initial_state, get_train_step, get_metadata: TF-Agents' PolicySaver.

    Inputs of other shapes raise InvalidArgumentError; callers of signatures, in Python
    as in C++, do not compare them by themselves.

    Args:
      policy: must be made with xla=False: not every runtime has a compiler.
      directory: made, or empty.
    """
    size = policy.spaces.observation_size
    observation = tf.TensorSpec([None, size], tf.float32, "observation")

    # Products in bfloat16 show every change of order: there the model is the policy.
    rounded = any(v.dtype == tf.bfloat16 for v in policy.variables())
    extract = policy.extract if rounded else _with_constants(policy)

    @tf.function(input_signature=[observation], autograph=False)
    def act(observation: tf.Tensor) -> Outputs:
        rows = tf.ensure_shape(observation, [None, size])
        return outputs(policy.select(rows, extract=extract))

    @tf.function(
        input_signature=[
            observation,
            tf.TensorSpec([], tf.int32, "num_candidates"),
            tf.TensorSpec([], tf.float32, "temperature"),
            tf.TensorSpec([], tf.int64, "seed"),
        ],
        autograph=False,
    )
    def sample(
        observation: tf.Tensor,
        num_candidates: tf.Tensor,
        temperature: tf.Tensor,
        seed: tf.Tensor,
    ) -> Outputs:
        rows = tf.ensure_shape(observation, [None, size])
        found = policy.select(rows, seed, num_candidates, temperature, extract)
        return outputs(found) | {"action_spread": found.spread}

    with quiet():
        saver = policy_saver.PolicySaver(policy)
        saver.signatures["serving_default"] = act
        saver.signatures["sample"] = sample
        if policy.spaces.observation_keys:
            saver.signatures["dict"] = _of_parts(policy, extract)
        saver.save(str(directory))


def _with_constants(policy: IdqlPolicy) -> Extract:
    """The policy's choice with its weights as constants.

    What depends on weights alone, the features of the diffusion steps and the layout
    of kernels, is then computed when a model is loaded and not in every call.
    """
    with fused.constant_weights():
        afresh = dense.compiled(
            policy.extract.python_function,
            xla=False,
            input_signature=policy.extract.input_signature,
        )
        traced = afresh.get_concrete_function()
    constant = convert_variables_to_constants_v2(traced)
    return lambda observation, words: Extraction(*constant(observation, words))


def _of_parts(
    policy: IdqlPolicy, extract: Extract
) -> tf.types.experimental.GenericFunction:
    """The signature that takes a dict observation key by key."""
    specs = policy.time_step_spec.observation
    named = {
        key: tf.TensorSpec([None, *specs[key].shape], tf.float32, key)
        for key in policy.spaces.observation_keys
    }

    @tf.function(autograph=False)
    def act(**parts: tf.Tensor) -> Outputs:
        checked = {
            key: tf.ensure_shape(parts[key], spec.shape) for key, spec in named.items()
        }
        return outputs(policy.select(policy.spaces.flatten(checked), extract=extract))

    return act.get_concrete_function(**named)


def flat_policy(critic: Critic, behavior: Behavior, num_candidates: int) -> IdqlPolicy:
    """The argmax policy of plain observations [D] and actions in [-1, 1]."""
    observation = tf.TensorSpec([critic.observation_size], tf.float32, "observation")
    action = tensor_spec.BoundedTensorSpec(
        [behavior.action_size], tf.float32, -1.0, 1.0, "action"
    )
    time_step = ts.time_step_spec(observation)
    return IdqlPolicy(time_step, action, critic, behavior, num_candidates, xla=False)


def outputs(found: Extraction) -> Outputs:
    """Names what every signature gives."""
    return {"action": found.action, "q_value": found.q_value, "value": found.value}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides remarks of PolicySaver and TFLite on what they name, skip and convert."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), filtered_stderr(only_on_error=True):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
