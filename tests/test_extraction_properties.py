import types

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from properties import FEW

from idql_tf import extraction
from idql_tf.critic.objectives import Expectile, Exponential, Quantile

OBJECTIVES = st.sampled_from(
    [Expectile(0.7), Expectile(0.99), Quantile(0.6), Exponential(1.0, 6.0)]
)
SIZES = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 9))
SCALES = st.sampled_from([1e-20, 1e-3, 1.0, 1e3, 1e8])
METHODS = st.sampled_from(["implicit", "softmax"])


def make(sizes, seed, scale):
    """Candidates with distinct Q, of any sign, some with an advantage of exactly 0."""
    rng = np.random.default_rng(seed)
    q = rng.permuted(np.arange(np.prod(sizes))).reshape(sizes) - np.prod(sizes) / 2
    value = q[..., 0] if seed % 2 else rng.normal(size=sizes[:2])
    return extraction.Candidates(
        tf.constant(rng.uniform(-1, 1, (*sizes, 2)), tf.float32),
        tf.constant(scale * q, tf.float32),
        tf.constant(scale * value, tf.float32),
    )


def weigh(method, candidates, objective):
    critic = types.SimpleNamespace(implicit_weight=objective.implicit_weight)
    return extraction.probabilities(method, candidates, critic, 1.0).numpy()


@FEW
@given(SIZES, st.integers(0, 999), SCALES, METHODS, OBJECTIVES)
def test_probabilities_are_some(sizes, seed, scale, method, objective):
    p = weigh(method, make(sizes, seed, scale), objective)
    assert p.shape == sizes and (p >= 0).all()
    np.testing.assert_allclose(p.sum(-1), 1.0, rtol=1e-5)


@FEW
@given(SIZES, st.integers(0, 999), SCALES, METHODS, OBJECTIVES)
def test_the_order_of_candidates_orders_nothing_else(
    sizes, seed, scale, method, objective
):
    candidates = make(sizes, seed, scale)
    order = np.random.default_rng(seed).permutation(sizes[2])
    permuted = extraction.Candidates(
        tf.gather(candidates.actions, order, axis=2),
        tf.gather(candidates.q, order, axis=2),
        candidates.value,
    )
    np.testing.assert_allclose(
        weigh(method, permuted, objective),
        weigh(method, candidates, objective)[..., order],
        rtol=1e-5,
    )
    best, same = (
        extraction.pick(c, tf.argmax(c.q, -1, output_type=tf.int32))
        for c in (candidates, permuted)
    )
    np.testing.assert_array_equal(best.q_value, tf.reduce_max(candidates.q, -1))
    np.testing.assert_array_equal(best.action, same.action)
    np.testing.assert_array_equal(best.value, same.value)
    np.testing.assert_allclose(best.spread, same.spread, rtol=1e-5, atol=1e-7)


@FEW
@given(SIZES, st.integers(0, 999))
def test_choice_is_the_inverse_transform(sizes, seed):
    rng = np.random.default_rng(seed)
    # Multiples of 1/64, so that sums are exact and draws fall on their edges.
    parts = rng.multinomial(64, rng.dirichlet(np.full(sizes[2], 0.3)), sizes[:2])
    draws = rng.integers(0, 64, sizes[:2])
    index = extraction.choose(
        tf.constant(parts / 64, tf.float32), tf.constant(draws / 64, tf.float32)
    )
    for where in np.ndindex(sizes[:2]):
        expected = np.searchsorted(np.cumsum(parts[where]), draws[where], "right")
        assert index[where] == expected
        assert parts[where][expected] > 0
