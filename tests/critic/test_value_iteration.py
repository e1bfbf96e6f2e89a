"""The critic on one-hot actions of a small MDP, against its exact solutions."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from idql_tf import extraction
from idql_tf.behavior.categorical import CategoricalBehavior
from idql_tf.critic.objectives import Expectile
from idql_tf.critic.updates import Critic, CriticBatch

STATES, ACTIONS, DISCOUNT = 5, 3, 0.8
UPDATES = 700
# A chain: action 0 goes left, 1 right, 2 stays and pays a little; right of the last
# state is the goal, where it ends. What the data never do: stay in states 3 and 4.
COUNTS = np.array([[3, 1, 2], [2, 2, 2], [1, 2, 1], [2, 3, 0], [1, 1, 0]], float)


def _model():
    """Rewards, masks and next states, [STATES, ACTIONS] each."""
    state, action = np.indices((STATES, ACTIONS))
    following = np.clip(state + np.array([-1, 1, 0])[action], 0, STATES - 1)
    ends = (state == STATES - 1) & (action == 1)
    return np.where(ends, 2.0, 0.05 * (action == 2)), 1.0 - ends, following


def _expectile(q, tau):
    """The tau-expectile of each row of q under the data's frequencies: V of eq. 8."""
    v = np.average(q, axis=1, weights=COUNTS)
    for _ in range(200):
        weights = COUNTS * np.where(q > v[:, None], tau, 1.0 - tau)
        v = np.average(q, axis=1, weights=weights)
    return v


def _solve(value_of):
    """The fixed point of Q = r + discount mask V(s'), V = value_of(Q)."""
    rewards, masks, following = _model()
    v = np.zeros(STATES)
    for _ in range(300):
        q = rewards + DISCOUNT * masks * v[following]
        v = value_of(q)
    return q, v


@functools.cache
def _trained(tau):
    """A critic and a behaviour model of the data, and their batch."""
    critic = Critic(
        STATES, ACTIONS, (0,), Expectile(tau), (32,), 2, DISCOUNT, 1e-2, 0.1
    )
    behavior = CategoricalBehavior(
        STATES, ACTIONS, (0,), (32,), 1e-2, None, 0.0, average_rate=0.05
    )
    rewards, masks, following = _model()
    state, action = np.nonzero(COUNTS)
    rows, columns = (np.eye(n, dtype=np.float32) for n in (STATES, ACTIONS))
    taken = COUNTS[state, action]
    batch = CriticBatch(
        *(
            tf.constant(x[None], tf.float32)
            for x in (
                rows[state],
                columns[action],
                rewards[state, action],
                masks[state, action],
                rows[following[state, action]],
                taken / taken.mean(),
            )
        )
    )

    @tf.function
    def train():
        for _ in tf.range(UPDATES):
            critic.update(batch)
            behavior.update(batch.observations, batch.actions, batch.weights)

    train()
    every = tf.tile(tf.eye(ACTIONS)[None, None], [1, STATES, 1, 1])
    features = critic.target_q.observation_features(tf.eye(STATES)[None])
    q = tf.reduce_min(critic.target_q.from_features(features, every), 1)[0].numpy()
    return critic, behavior, q, critic.value(tf.eye(STATES)[None])[0].numpy()


@pytest.mark.parametrize("tau", [pytest.param(0.5, marks=pytest.mark.slow), 0.99])
def test_the_critic_finds_the_fixed_point_of_its_expectile(tau):
    expected_q, expected_v = _solve(lambda q: _expectile(q, tau))
    _, _, q, v = _trained(tau)
    known = COUNTS > 0
    np.testing.assert_allclose(v, expected_v, atol=0.02)
    np.testing.assert_allclose(q[known], expected_q[known], atol=0.03)


@pytest.mark.slow
def test_tau_one_half_evaluates_the_policy_of_the_data():
    """Its values are those of (I - discount P)^-1 r."""
    rewards, masks, following = _model()
    p = COUNTS / COUNTS.sum(1, keepdims=True)
    transition = np.zeros((STATES, STATES))
    for s, a in np.ndindex(STATES, ACTIONS):
        transition[s, following[s, a]] += p[s, a] * masks[s, a]
    matrix = np.eye(STATES) - DISCOUNT * transition
    expected = np.linalg.solve(matrix, (p * rewards).sum(1))
    np.testing.assert_allclose(_trained(0.5)[3], expected, atol=0.02)


def test_tau_near_one_finds_the_optimal_values_and_policy_in_the_data():
    """Value iteration over the actions that the data take."""
    seen = np.where(COUNTS > 0, 0.0, -np.inf)
    optimal_q, optimal_v = _solve(lambda q: (q + seen).max(1))
    critic, behavior, _, v = _trained(0.99)
    np.testing.assert_allclose(v, optimal_v, atol=0.05)
    found = {}
    for n in (1, 64):
        arguments = tf.eye(STATES)[None], tf.constant([0], tf.int64), tf.constant(0)
        found[n] = extraction.extract(critic, behavior, *arguments, "argmax", n)
        found[n] = found[n].action.numpy()[0].argmax(-1)
    np.testing.assert_array_equal(found[64], (optimal_q + seen).argmax(1))
    assert (found[1] != found[64]).any(), "the data's habit is not the best"
