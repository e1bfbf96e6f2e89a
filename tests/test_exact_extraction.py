"""Extraction among all actions of a discrete space, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from idql_tf import extraction
from idql_tf.behavior.categorical import CategoricalBehavior
from idql_tf.critic.objectives import Exponential
from idql_tf.critic.updates import Critic
from idql_tf.errors import UserError

D, A, N, B = 3, 5, 8, 6
SEEDS = tf.constant([11, 12], tf.int64)
CRITIC = Critic(D, A, (0, 1), Exponential(1.5), (8,), 2, 0.99, 3e-4, 0.005)
BEHAVIOR = CategoricalBehavior(D, A, (0, 1), (8,), 3e-4, None, 0.0, 0.001)
_RNG = np.random.default_rng(3)
for _variable in (*CRITIC.trainable_variables, *BEHAVIOR.trainable_variables):
    _variable.assign(0.9 * _RNG.normal(size=_variable.shape))
OBSERVATIONS = tf.constant(_RNG.normal(size=(2, B, D)), tf.float32)


def _q_and_mu(observations):
    """Q and mu, [S, B, A] each, one action after the other."""
    each = []
    for a in range(A):
        actions = tf.tile(tf.one_hot([[a]], A), [2, B, 1])
        each.append(CRITIC.target_q(observations, actions).numpy().min(1))
    logits = BEHAVIOR.average(observations).numpy().astype(np.float64)
    mu = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return np.stack(each, -1), mu


Q, MU = _q_and_mu(OBSERVATIONS)
U = Q - CRITIC.value(OBSERVATIONS).numpy()[..., None]
PLAUSIBLE = (MU >= 1 / N) | (MU.max(-1, keepdims=True) == MU)


def _extract(method, n, **options):
    step = tf.constant(3, tf.int64)
    return extraction.extract(
        CRITIC, BEHAVIOR, OBSERVATIONS, SEEDS, step, method, n, **options
    )


def test_the_example_tells_the_rules_apart():
    masked = np.where(PLAUSIBLE, Q, -np.inf).argmax(-1)
    assert (masked != Q.argmax(-1)).any() and (masked != MU.argmax(-1)).any()


def test_argmax_takes_the_best_plausible_action():
    index = np.where(PLAUSIBLE, Q, -np.inf).argmax(-1)
    found = _extract("argmax", N)
    np.testing.assert_array_equal(found.action, np.eye(A)[index])
    expected = np.take_along_axis(Q, index[..., None], -1)[..., 0]
    np.testing.assert_allclose(found.q_value, expected, rtol=1e-5)
    p = MU * PLAUSIBLE / (MU * PLAUSIBLE).sum(-1, keepdims=True)
    spread = np.sqrt((p * (1 - p)).sum(-1) / A)
    np.testing.assert_allclose(found.spread, spread, rtol=1e-4)


def test_there_is_nothing_to_refine():
    with pytest.raises(UserError, match="these are discrete"):
        _extract("cem", N)


@pytest.mark.parametrize("method", ["argmax", "implicit", "softmax"])
def test_one_candidate_is_greedy_cloning(method):
    found = _extract(method, 1)
    np.testing.assert_array_equal(found.action, np.eye(A)[MU.argmax(-1)])
    np.testing.assert_array_equal(found.spread, np.zeros((2, B)))


def test_many_candidates_are_the_unconstrained_argmax():
    found = _extract("argmax", 100_000)
    np.testing.assert_array_equal(found.action, np.eye(A)[Q.argmax(-1)])


@pytest.mark.parametrize("method", ["implicit", "softmax"])
def test_choices_are_as_frequent_as_the_prior_times_the_weights(method):
    weights = {"implicit": np.abs(np.expm1(1.5 * U) / U), "softmax": np.exp(2.0 * U)}
    expected = PLAUSIBLE * MU * weights[method]
    expected /= expected.sum(-1, keepdims=True)
    step = tf.constant(3, tf.int64)
    drawn = extraction.draw_candidates(CRITIC, BEHAVIOR, OBSERVATIONS, SEEDS, step, N)
    p = extraction.probabilities(method, drawn, CRITIC, 2.0)
    np.testing.assert_allclose(p, expected, rtol=1e-4, atol=1e-7)
    size, row = 20_000, PLAUSIBLE[0].sum(-1).argmax()
    found = extraction.extract(
        CRITIC,
        BEHAVIOR,
        tf.tile(OBSERVATIONS[:, row : row + 1], [1, size, 1]),
        SEEDS,
        step,
        method,
        N,
        2.0,
    )
    counts = found.action.numpy().sum(1)[:, PLAUSIBLE[0, row]]
    assert counts[0].sum() == size, "only plausible actions are taken"
    kept = size * expected[0, row][PLAUSIBLE[0, row]]
    assert stats.chisquare(counts[0], kept).pvalue > 1e-3


def test_an_ensemble_takes_what_any_member_finds_plausible():
    same = tf.stack([OBSERVATIONS[0]] * 2)
    q, mu = _q_and_mu(same)
    plausible = ((mu >= 1 / N) | (mu.max(-1, keepdims=True) == mu)).any(0)
    index = np.where(plausible, q.mean(0), -np.inf).argmax(-1)
    step = tf.constant(3, tf.int64)
    found = extraction.extract(
        CRITIC, BEHAVIOR, same, SEEDS, step, "argmax", N, pooled=True
    )
    np.testing.assert_array_equal(found.action, np.eye(A)[index][None])
    expected = np.where(plausible, q.mean(0), -np.inf).max(-1)
    np.testing.assert_allclose(found.q_value[0], expected, rtol=1e-5)
