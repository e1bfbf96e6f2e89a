"""Experience for the agent's tests, as a replay buffer gives it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tf_agents.specs import BoundedTensorSpec
from tf_agents.trajectories.trajectory import Trajectory

from idql_tf.critic.updates import CriticBatch
from idql_tf.data import preprocessing

D, A, B, F32 = 5, 2, 7, tf.float32
LOW, HIGH = np.float32([-2.0, 0.1]), np.float32([4.0, 0.3])
OBSERVATION = BoundedTensorSpec([D], F32, -1.0, 1.0)
ACTION = BoundedTensorSpec([A], F32, LOW, HIGH)
FIRST, MID, LAST = range(3)
# In the order in which a goal environment is flattened.
GOAL = {"achieved_goal": 1, "observation": 3, "desired_goal": 1}


def make_rows(seed=0, size=B, **changes):
    """Transitions within an episode, of which the last one ends it."""
    rng = np.random.default_rng(seed)
    rows = {
        "observation": rng.normal(size=(size, D)),
        "action": rng.uniform(LOW - 0.1, HIGH + 0.1, (size, A)),
        "reward": rng.normal(size=size),
        "discount": np.append(rng.integers(0, 2, size - 2), [1, 0]),
        "next_observation": rng.normal(size=(size, D)),
        "step_type": np.append([FIRST], np.full(size - 1, MID)),
        "next_step_type": np.append(np.full(size - 2, MID), [LAST, LAST]),
    }
    return {k: np.float32(v) for k, v in (rows | changes).items()}


def trajectory(rows):
    """What a replay buffer gives of these rows: [B, 2, ...]."""

    def pair(first, second):
        return tf.constant(np.stack([first, second], 1))

    unused = np.full_like(rows["reward"], 9e4)  # of the second frame
    types = pair(rows["step_type"], rows["next_step_type"])
    return Trajectory(
        tf.cast(types, tf.int32),
        pair(rows["observation"], rows["next_observation"]),
        pair(rows["action"], 0 * rows["action"] + 9),
        (),
        tf.cast(pair(rows["next_step_type"], rows["step_type"]), tf.int32),
        pair(rows["reward"], unused),
        pair(rows["discount"], unused),
    )


def make_batch(rows, start=0, stop=None):
    parts = (
        rows["observation"],
        preprocessing.to_unit_action(rows["action"], LOW, HIGH),
        rows["reward"],
        rows["discount"],
        rows["next_observation"],
    )
    return CriticBatch(*(tf.constant(part[None, start:stop]) for part in parts))


def q_loss(agent, discount):
    """By hand, of `make_rows()` with this discount in all of them."""
    rows = make_rows()
    v = agent.critic.value(rows["next_observation"][None])[0]
    q = agent.critic.q(*make_batch(rows)[:2])[0]
    return tf.reduce_mean((q - rows["reward"] - discount * v) ** 2)
