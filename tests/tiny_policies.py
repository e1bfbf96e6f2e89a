"""A policy of small networks with drawn weights, and what it is called with."""

import functools

import numpy as np
import tensorflow as tf
import tiny_networks
from tf_agents.specs import BoundedTensorSpec
from tf_agents.trajectories import time_step as ts

from idql_tf.behavior import schedules
from idql_tf.behavior.networks import Mlp
from idql_tf.behavior.updates import Behavior
from idql_tf.critic.objectives import Expectile
from idql_tf.critic.updates import Critic
from idql_tf.policies import IdqlPolicy

D, A, N, B = 3, 2, 8, 7
# Bounds above which the plain scaling of +1 ends, by one unit in the last place.
LOW, HIGH = np.float32([-1.22, -0.3]), np.float32([0.1, 1.38])
SPECS = (
    ts.time_step_spec(tf.TensorSpec([D], tf.float32)),
    BoundedTensorSpec([A], tf.float32, LOW, HIGH),
)
SIZES = {"hidden_dim": 8, "num_hidden": 1, "time_dim": 4, "condition_dims": (8, 8)}
NETWORK = functools.partial(Mlp, activation="mish", **SIZES)


def make_networks(seeds=(0,), d=D, a=A, network=NETWORK):
    critic = Critic(d, a, seeds, Expectile(0.9), (8, 8), 2, 0.99, 3e-4, 0.005)
    behavior = Behavior(d, a, seeds, network, schedules.vp, 5, 3e-4, None, 0.001)
    rng = np.random.default_rng(11)
    for module, scale in ((critic, 0.7), (behavior, 0.15)):
        for variable in module.trainable_variables:
            variable.assign(scale * rng.normal(size=variable.shape))
    return critic, behavior


CRITIC, BEHAVIOR = ONE = make_networks()
STACK = make_networks((0, 1))
RESNETS = make_networks((0, 1), network=tiny_networks.RESNET)


@functools.cache
def make_policy(method="argmax", n=N, networks=ONE, **options):
    return IdqlPolicy(*SPECS, *networks, n, method, **options)


def make_observations(batch=B, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(size=(batch, D)), tf.float32)


def make_step(observations):
    return ts.restart(tf.constant(observations), batch_size=len(observations))


OBSERVATIONS = make_observations()
STEP, WORDS = make_step(OBSERVATIONS), tf.constant([7, 5], tf.int64)
