"""Exported models of discrete actions."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.specs import BoundedTensorSpec
from tf_agents.trajectories import time_step as ts

from idql_tf.behavior.categorical import CategoricalBehavior
from idql_tf.critic.objectives import Expectile
from idql_tf.critic.updates import Critic
from idql_tf.export import parity, saved_model, tflite
from idql_tf.policies import IdqlPolicy

D, A, N = 4, 3, 16


@pytest.fixture(scope="module")
def policy():
    critic = Critic(D, A, (0,), Expectile(0.9), (16, 16), 2, 0.99, 3e-4, 0.005)
    behavior = CategoricalBehavior(D, A, (0,), (16,), 3e-4, None, 0.0, 0.001)
    time_step = ts.time_step_spec(tf.TensorSpec([D], tf.float32, "observation"))
    action = BoundedTensorSpec([], tf.int64, 5, 5 + A - 1, "action")
    return IdqlPolicy(time_step, action, critic, behavior, N, xla=False)


@pytest.fixture(scope="module")
def inputs():
    return parity.observations(None, D, 40)


@pytest.mark.slow
def test_a_saved_model_gives_numbers(policy, inputs, tmp_path):
    saved_model.write(policy, tmp_path / "model")
    found = parity.of_saved_model(policy, tmp_path / "model", inputs)
    assert found["largest_action_difference"] <= 1e-6
    model = tf.saved_model.load(str(tmp_path / "model"))
    action = model.signatures["serving_default"](tf.constant(inputs))["action"]
    assert action.dtype == tf.int64 and action.shape == [40]
    expected = policy.select(inputs, 0).action
    np.testing.assert_array_equal(action, expected)
    assert len(np.unique(expected)) > 1


@pytest.mark.slow
def test_a_tflite_model_gives_numbers_without_noise(policy, inputs):
    model = tflite.convert(policy, float16=False)
    found = parity.of_tflite(policy, model, inputs)
    assert found["largest_action_difference"] == 0.0
    run = tf.lite.Interpreter(model_content=model).get_signature_runner(
        "serving_default"
    )
    unknown = run(observation=np.full([1, D], np.nan, np.float32))
    assert unknown["action"] == [4] and np.isnan(unknown["q_value"]).all()
