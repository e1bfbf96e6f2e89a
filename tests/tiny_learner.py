"""A learner and data small enough to train in seconds, built through gin."""

import gin
import numpy as np
import tensorflow as tf

from idql_tf import config
from idql_tf.training.arrays import DeviceArrays
from idql_tf.training.learner import IdqlLearner

BINDINGS = (
    "LnResnet.hidden_dim = 16",
    "LnResnet.num_blocks = 2",
    "LnResnet.time_dim = 8",
    "LnResnet.condition_dims = (8, 8)",
    "Critic.hidden_dims = (16, 16)",
    "IdqlLearner.critic_batch_size = 32",
    "IdqlLearner.behavior_batch_size = 64",
    "Behavior.decay_steps = 1_000",
)


def learner(seeds, *bindings):
    config.load([], [*BINDINGS, *bindings])
    made = IdqlLearner(5, 2, seeds)
    gin.clear_config()
    return made


def arrays(size=2_000):
    rng = np.random.default_rng(0)

    def floats(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    return DeviceArrays(
        rows=floats(size + 1, 5),
        index=tf.range(size),
        actions=tf.tanh(floats(size, 2)),
        rewards=floats(size),
        masks=tf.constant(rng.integers(0, 2, size), tf.float32),
        train=tf.range(size - 100),
        validation=tf.range(size - 100, size),
    )


def state(module):
    return [variable.numpy().copy() for variable in module.variables]


def assert_same(ours, theirs, **tolerance):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        if tolerance:
            np.testing.assert_allclose(a, b, **tolerance)
        else:
            np.testing.assert_array_equal(a, b)
