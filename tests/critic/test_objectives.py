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


def _exact_gradients():
    return {
        Expectile(0.8): lambda u: np.where(u > 0, 0.8, 0.2) * u,
        Exponential(1.3): lambda u: np.expm1(1.3 * u),
        Quantile(0.65): lambda u: np.where(u > 0, 0.65, -0.35),
    }


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("f", _exact_gradients())
def test_implicit_actor_has_the_value_as_its_mean(f, seed):
    """Theorem 4.1: at the exact V*, sum w q / sum w = V*."""
    rng = np.random.default_rng(seed)
    q = rng.normal(scale=2.0, size=rng.integers(3, 40))
    probabilities = rng.dirichlet(np.ones(q.size))
    v = _solve_value(_exact_gradients()[f], q, probabilities)
    if isinstance(f, Quantile):
        # V* is one of the q; the theorem speaks of the mass on either side, so
        # the atom at V* itself is split to make the condition hold exactly.
        atom = np.argmin(np.abs(q - v))
        v = q[atom]
        probabilities = _split_atom(f.tau, q, probabilities, atom)
    weight = probabilities * f.implicit_weight(q - v).numpy()
    assert np.sum(weight * q) / np.sum(weight) == pytest.approx(v, abs=1e-4)


def _split_atom(tau, q, probabilities, atom):
    above = np.sum(probabilities[q > q[atom]])
    below = np.sum(probabilities[q < q[atom]])
    # tau * above' = (1 - tau) * below' with the atom's mass shared out.
    result = probabilities.copy()
    if above > 0 and below > 0:
        wanted = tau * (above + below) / 1.0
        result[q < q[atom]] *= wanted / below
        result[q > q[atom]] *= (above + below - wanted) / above
    return result


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
