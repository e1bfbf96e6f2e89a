import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from idql_tf.nn import randomness


def _keys(*seeds, stream="noise", step=3):
    return randomness.keys(tf.constant(seeds, tf.int64), stream, step)


def _integers(keys, shape):
    return randomness.integers(keys, shape, 999_983)


def _few_integers(keys, shape):
    return randomness.integers(keys, shape, tf.shape(tf.zeros([6]))[0])


@pytest.mark.parametrize(
    "draw, tolerance",
    [
        (randomness.bits, 0.0),
        (randomness.short_bits, 0.0),
        (randomness.uniform, 0.0),
        (_integers, 0.0),
        (_few_integers, 0.0),
        (randomness.normal, 1e-6),
    ],
)
def test_compiling_changes_no_draw(draw, tolerance):
    plain = tf.function(lambda: draw(_keys(1, 2), [500, 3]))()
    compiled = tf.function(lambda: draw(_keys(1, 2), [500, 3]), jit_compile=True)()
    assert len(np.unique(plain)) > 5
    if tolerance:
        np.testing.assert_allclose(plain, compiled, atol=tolerance)
    else:
        np.testing.assert_array_equal(plain, compiled)


def test_a_member_draws_what_it_would_alone():
    stack = randomness.normal(_keys(4, 9), [6])
    np.testing.assert_array_equal(stack[1], randomness.normal(_keys(9), [6])[0])


def test_seed_stream_and_step_each_change_the_draw():
    first = randomness.bits(_keys(4), [8]).numpy()
    for other in (_keys(5), _keys(4, stream="dropout"), _keys(4, step=4)):
        assert not np.array_equal(first, randomness.bits(other, [8]))
    np.testing.assert_array_equal(first, randomness.bits(_keys(4), [8]))


def test_distributions():
    normal = randomness.normal(_keys(0), [200_000]).numpy()[0]
    uniform = randomness.uniform(_keys(0), [200_000]).numpy()[0]
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert uniform.min() > 0 and uniform.max() < 1
    drawn = randomness.integers(_keys(0), [60_000], 6).numpy()
    assert stats.chisquare(np.bincount(drawn[0], minlength=6)).pvalue > 1e-3


def test_short_bits_are_all_equally_likely_and_independent():
    drawn = randomness.short_bits(_keys(0), [3, 65_536]).numpy()[0].astype(int)
    assert drawn.shape == (3, 65_536)
    counts = np.bincount((drawn.ravel() + 32_768) // 256, minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-3
    # The two of a word are neighbours.
    assert abs(np.corrcoef(drawn[:, ::2].ravel(), drawn[:, 1::2].ravel())[0, 1]) < 0.01
    odd = randomness.short_bits(_keys(0, 1), [4, 5])
    assert odd.shape == (2, 4, 5) and odd.dtype == tf.int16


def test_consecutive_steps_are_uncorrelated():
    draws = [randomness.normal(_keys(0, step=k), [20_000])[0] for k in range(4)]
    correlation = np.corrcoef(np.stack(draws)) - np.eye(4)
    assert np.abs(correlation).max() < 0.03
