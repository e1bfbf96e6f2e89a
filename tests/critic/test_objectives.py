import numpy as np
import pytest
import tensorflow as tf

from idql_tf.critic.objectives import Expectile, Exponential, Quantile

OBJECTIVES = [Expectile(0.7), Expectile(0.9), Quantile(0.6), Exponential(0.5)]


def test_expectile_by_hand():
    f = Expectile(0.9)
    u = tf.constant([-2.0, -0.5, 0.0, 0.5, 2.0])
    np.testing.assert_allclose(f.loss(u), [0.4, 0.025, 0, 0.225, 3.6], rtol=1e-6)
    np.testing.assert_allclose(f.gradient(u), [-0.4, -0.1, 0, 0.9, 3.6], rtol=1e-6)
    np.testing.assert_allclose(f.implicit_weight(u), [0.1, 0.1, 0.1, 0.9, 0.9], 1e-6)


def test_half_expectile_is_half_the_squared_error():
    u = tf.constant([-1.5, 0.2, 3.0])
    np.testing.assert_allclose(Expectile(0.5).loss(u), 0.5 * u.numpy() ** 2, rtol=1e-6)


def test_quantile_by_hand():
    f = Quantile(0.6)
    u = tf.constant([-2.0, 0.5])
    np.testing.assert_allclose(f.loss(u), [0.8, 0.3], rtol=1e-6)
    np.testing.assert_allclose(f.gradient(u), [-0.4, 0.6], rtol=1e-6)
    np.testing.assert_allclose(f.implicit_weight(u), [0.2, 1.2], rtol=1e-6)
    assert float(f.implicit_weight(0.0)) == pytest.approx(0.4e6)


def test_exponential_gradient_table():
    u = tf.constant([-3.0, -1.0, 0.0, 0.5, 1.0, 2.0, 5.0])
    expected = [-0.95021, -0.63212, 0, 0.64872, 1.71828, 5, 5]
    np.testing.assert_allclose(Exponential(1.0).gradient(u), expected, atol=1e-5)


def test_exponential_weight_is_not_capped_and_is_smooth_at_zero():
    f = Exponential(0.5)
    assert float(f.implicit_weight(0.0)) == pytest.approx(0.25)
    assert float(f.implicit_weight(1e-4)) == pytest.approx(0.25, rel=1e-3)
    expected = 0.5 * (np.exp(0.5 * 8) - 1) / 8
    assert float(f.implicit_weight(8.0)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("f", OBJECTIVES)
def test_gradient_is_the_derivative_of_the_loss(f):
    u = tf.constant(np.linspace(-4, 7, 111) + 0.003, tf.float64)
    step = 1e-6
    numeric = (f.loss(u + step) - f.loss(u - step)) / (2 * step)
    np.testing.assert_allclose(f.gradient(u), numeric, atol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(u)
        loss = f.loss(u)
    np.testing.assert_allclose(tape.gradient(loss, u), f.gradient(u), atol=1e-9)


@pytest.mark.parametrize("f", OBJECTIVES)
def test_weight_is_gradient_over_error_up_to_a_constant(f):
    u = np.array([-3.0, -0.4, 0.3, 1.7])
    ratio = np.abs(f.gradient(u)) / np.abs(u) / f.implicit_weight(u)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
    assert np.all(f.implicit_weight(u) > 0)


def _solve_value(f, q, probabilities):
    """Root of E[f'(q - v)] by bisection, independent of the package's V."""
    low, high = q.min() - 1.0, q.max() + 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        slope = float(np.sum(probabilities * f(q - middle)))
        low, high = (middle, high) if slope > 0 else (low, middle)
    return 0.5 * (low + high)


_EXACT_GRADIENTS = {
    Expectile(0.8): lambda u: np.where(u > 0, 0.8, 0.2) * u,
    Exponential(1.3): lambda u: np.expm1(1.3 * u),
}


def _mean(weight, q):
    return np.sum(weight * q) / np.sum(weight)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("f", _EXACT_GRADIENTS)
def test_implicit_actor_has_the_value_as_its_mean(f, seed):
    """Theorem 4.1: at the exact V*, sum w q / sum w = V*."""
    rng = np.random.default_rng(seed)
    q = rng.normal(scale=2.0, size=rng.integers(3, 40))
    probabilities = rng.dirichlet(np.ones(q.size))
    v = _solve_value(_EXACT_GRADIENTS[f], q, probabilities)
    weight = probabilities * f.implicit_weight(q - v).numpy()
    assert _mean(weight, q) == pytest.approx(v, abs=1e-6)


def _quantile_case(tau, seed):
    """Q, probabilities and their tau-quantile V*, which is none of the Q.

    The mass below V* is tau and that above 1 - tau, so that V* is stationary; on
    an atom the loss has a kink, and an atom's own weight would hide the others'.
    """
    rng = np.random.default_rng(seed)
    q = np.sort(rng.normal(scale=2.0, size=rng.integers(3, 40)))
    below = rng.integers(1, q.size)
    v = q[below - 1] + rng.uniform(0.2, 0.8) * (q[below] - q[below - 1])
    masses = [
        tau * rng.dirichlet(np.ones(below)),
        (1 - tau) * rng.dirichlet(np.ones(q.size - below)),
    ]
    return q, np.concatenate(masses), v


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("tau", [0.3, 0.65, 0.9])
def test_quantile_actor_has_the_value_as_its_mean(tau, seed):
    q, probabilities, v = _quantile_case(tau, seed)
    weight = probabilities * Quantile(tau).implicit_weight(q - v).numpy()
    assert _mean(weight, q) == pytest.approx(v, abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_other_weights_miss_the_quantile(seed):
    q, probabilities, v = _quantile_case(0.65, seed)
    u = q - v
    swapped = Quantile(0.35).implicit_weight(u).numpy()
    for weight in (swapped, np.ones_like(u), 1 / u**2):
        assert abs(_mean(probabilities * weight, q) - v) > 1e-4


def test_awr_weights_do_not_satisfy_the_theorem():
    rng = np.random.default_rng(0)
    q = rng.normal(size=30)
    v = np.log(np.mean(np.exp(q)))
    weight = np.exp(q - v)
    assert abs(np.sum(weight * q) / np.sum(weight) - v) > 0.05


@pytest.mark.parametrize(
    "make",
    [
        lambda: Expectile(0.0),
        lambda: Expectile(1.0),
        lambda: Quantile(1.5),
        lambda: Exponential(0.0),
        lambda: Exponential(1.0, max_exponential=0.5),
    ],
)
def test_parameters_out_of_range(make):
    with pytest.raises(ValueError, match="expected"):
        make()
