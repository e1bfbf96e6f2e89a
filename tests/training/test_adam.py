import math

import numpy as np
import pytest
import tensorflow as tf

from idql_tf.nn.adam import Adam, cosine_decay, move_towards


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_against_numpy(weight_decay):
    rng = np.random.default_rng(0)
    x = rng.normal(size=7)
    variable = tf.Variable(x.astype(np.float32))
    adam = Adam([variable], weight_decay=weight_decay)
    m, v, rate = np.zeros(7), np.zeros(7), 0.01
    for t in range(1, 30):
        g = rng.normal(size=7) * 10.0 ** rng.integers(-9, 1)
        adam.apply([tf.constant(g, tf.float32)], rate)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        x = x * (1 - rate * weight_decay) - rate * m_hat / (np.sqrt(v_hat) + 1e-8)
        np.testing.assert_allclose(variable, x, atol=2e-6)
    assert int(adam.step) == 29


def test_epsilon_is_added_to_the_corrected_root():
    # With a gradient of epsilon's size the first step is lr / 2, not nearly lr.
    variable = tf.Variable([0.0])
    Adam([variable]).apply([tf.constant([1e-8])], 1.0)
    assert float(variable[0]) == pytest.approx(-0.5, rel=1e-4)


def test_cosine_decay_values():
    for step, expected in ((0.75e6, 2.5607e-4), (1.5e6, 1.5e-4), (2.25e6, 4.393e-5)):
        rate = cosine_decay(3e-4, tf.constant(int(step), tf.int64), 3_000_000)
        assert float(rate) == pytest.approx(expected, rel=1e-4)
    assert float(cosine_decay(3e-4, tf.constant(9_000_000), 3_000_000)) < 1e-12
    assert float(cosine_decay(3e-4, tf.constant(5), None)) == pytest.approx(3e-4)
    assert math.isclose(float(cosine_decay(1.0, tf.constant(0), 10)), 1.0)


def test_average_moves_towards_its_source():
    target, source = tf.Variable([1.0, 2.0]), tf.Variable([3.0, -2.0])
    move_towards([target], [source], 0.25)
    np.testing.assert_allclose(target, [1.5, 1.0])
