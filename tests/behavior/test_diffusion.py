import numpy as np
import pytest
import tensorflow as tf

from idql_tf.behavior import diffusion, schedules
from idql_tf.errors import UserError

BETAS = {
    "vp": [0.19587456, 0.45881819, 0.63578102, 0.75487819, 0.83503138],
    "cosine": [0.10129408, 0.27954385, 0.47363535, 0.72405237, 0.99900000],
    "linear": [0.0001, 0.005075, 0.01005, 0.015025, 0.02],
}
ALPHA_BARS = {
    "vp": [0.80412544, 0.43517806, 0.15850011, 0.03885183, 0.00640933],
    "cosine": [0.89870592, 0.64747821, 0.34080964, 0.09404561, 0.00009405],
    "linear": [0.9999, 0.99482551, 0.98482751, 0.97003048, 0.95062987],
}
VP_ROWS = {  # sqrt(alpha_bar), sqrt(1 - alpha_bar), 1/sqrt(alpha), .., sqrt(beta)
    0: [0.896730, 0.442577, 1.115162, 0.442577, 0.442577],
    2: [0.398121, 0.917333, 1.656986, 0.693075, 0.797359],
    4: [0.080058, 0.996790, 2.462064, 0.837720, 0.913801],
}


@pytest.mark.parametrize("name", BETAS)
def test_beta_tables(name):
    beta = getattr(schedules, name)(5)
    np.testing.assert_allclose(beta, BETAS[name], atol=1e-7)
    np.testing.assert_allclose(np.cumprod(1 - beta), ALPHA_BARS[name], atol=1e-7)


@pytest.mark.parametrize(
    "num_steps, index, expected, tolerance",
    [
        (1, 0, 0.99359, 1e-5),
        (2, 0, 0.724040, 1e-6),
        (2, 1, 0.976774, 1e-6),
        (10, 0, 0.057764, 1e-6),
        (20, 0, 0.017225, 1e-6),
        (50, 0, 0.003972, 1e-6),
        (50, 49, 0.179647, 1e-6),
    ],
)
def test_vp_at_other_lengths(num_steps, index, expected, tolerance):
    assert schedules.vp(num_steps)[index] == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 20, 100])
def test_vp_always_ends_at_the_same_signal(num_steps):
    final = np.prod(1.0 - schedules.vp(num_steps))
    assert final == pytest.approx(np.exp(-5.05), rel=1e-12)


def test_coefficient_table():
    c = schedules.coefficients(schedules.vp(5))
    for t, row in VP_ROWS.items():
        actual = [
            x[t]
            for x in (c.signal, c.noise, c.reverse_scale, c.reverse_noise, c.stddev)
        ]
        np.testing.assert_allclose(actual, row, atol=1e-6)


def test_no_steps_is_an_error():
    with pytest.raises(UserError, match="num_diffusion_steps is 0"):
        schedules.vp(0)


START = [1.5, -0.7, 0.2]
NOISE = [[0.1, -0.2, 0.3], [-0.5, 0.4, 0], [1, -1, 0.5], [0.2, 0.2, -0.2]]


def _golden_chain(clip):
    seen = {}

    def predict(x, t):
        seen[int(t)] = x.numpy()[0, 0]
        return 0.3 * x + 0.1 * tf.cast(t, tf.float32)

    draws = tf.constant([START, *NOISE], tf.float32)[None, :, None]
    coefficients = schedules.coefficients(schedules.vp(5))
    out = diffusion.reverse_chain(predict, draws, coefficients, clip=clip)
    return seen, out.numpy()[0, 0]


def test_golden_chain_clipped():
    seen, out = _golden_chain(clip=True)
    after = {4: [1, -1, -0.182207], 3: [0.652255, -1, -0.749575]}
    after |= {2: [1, -1, -0.814792], 1: [1, -1, -1]}
    for t, expected in after.items():
        np.testing.assert_allclose(seen[t - 1], expected, atol=1e-5)
    np.testing.assert_allclose(out, [0.967099, -0.967099, -0.967099], atol=1e-5)


def test_golden_chain_unclipped():
    seen, out = _golden_chain(clip=False)
    np.testing.assert_allclose(seen[3], [2.031333, -2.298084, -0.182207], atol=1e-5)
    np.testing.assert_allclose(seen[0], [3.967870, -6.463276, -1.123187], atol=1e-5)
    np.testing.assert_allclose(out, [1, -1, -1], atol=1e-6)


def _numpy_chain(predict, draws, beta, clip, temperature):
    alpha, alpha_bar = 1 - beta, np.cumprod(1 - beta)
    x, last = draws[:, 0], len(beta) - 1
    for k in range(last + 1):
        t = last - k
        x = (x - beta[t] / np.sqrt(1 - alpha_bar[t]) * predict(x, t)) / np.sqrt(
            alpha[t]
        )
        if t > 0:
            x = x + temperature * np.sqrt(beta[t]) * draws[:, k + 1]
        x = np.clip(x, -1, 1) if clip else x
    return np.clip(x, -1, 1)


@pytest.mark.parametrize("name", ["vp", "cosine", "linear"])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_chain_against_numpy(name, clip, temperature):
    beta = getattr(schedules, name)(7)
    draws = np.random.default_rng(3).normal(size=(2, 7, 5, 3)).astype(np.float32)

    def predict(x, t):
        return 0.4 * x - 0.05 * (t if isinstance(t, int) else tf.cast(t, tf.float32))

    actual = diffusion.reverse_chain(
        predict, tf.constant(draws), schedules.coefficients(beta), clip, temperature
    )
    expected = _numpy_chain(predict, draws.astype(np.float64), beta, clip, temperature)
    np.testing.assert_allclose(actual, expected, atol=5e-6)


@pytest.mark.parametrize("name", ["vp", "cosine"])
def test_true_noise_of_a_point_mass_recovers_it(name):
    coefficients = schedules.coefficients(getattr(schedules, name)(5))
    target = np.array([0.3, -0.8], np.float32)

    def predict(x, t):
        return (x - coefficients.signal[t] * target) / coefficients.noise[t]

    draws = np.random.default_rng(0).normal(size=(1, 5, 9, 2)).astype(np.float32)
    out = diffusion.reverse_chain(predict, tf.constant(draws), coefficients)
    np.testing.assert_allclose(out[0], np.tile(target, (9, 1)), atol=1e-5)


def test_corruption_and_loss_by_hand():
    coefficients = schedules.coefficients(schedules.vp(5))
    actions, noise = tf.constant([[[0.5, -1.0]]]), tf.constant([[[2.0, 1.0]]])
    noisy = diffusion.corrupt(actions, tf.constant([[1]]), noise, coefficients)
    expected = 0.659680 * np.array([0.5, -1.0]) + 0.751546 * np.array([2.0, 1.0])
    np.testing.assert_allclose(noisy[0, 0], expected, atol=1e-5)
    predicted = tf.constant([[[1.0, 3.0]]])
    assert float(diffusion.loss(predicted, noise)[0, 0]) == pytest.approx(1.0 + 4.0)
