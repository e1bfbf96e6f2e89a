import math

import gin
import numpy as np
import pytest
import tensorflow as tf

from idql_tf import config
from idql_tf.behavior.gaussian import GaussianBehavior
from idql_tf.critic.advantages import ExponentialAdvantage
from idql_tf.errors import UserError


def model(seeds=(0,), *bindings):
    config.load([], [f"GaussianBehavior.{b}" for b in bindings])
    made = GaussianBehavior(5, 2, seeds)
    gin.clear_config()
    return made


def batch(size=64, seeds=1):
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(seeds, size, 5)).astype(np.float32)
    return observations, np.tanh(rng.normal(size=(seeds, size, 2))).astype(np.float32)


@pytest.mark.parametrize("fixed", [None, 0.1])
def test_the_loss_is_the_negative_log_density(fixed):
    made = model((0,), f"fixed_stddev = {fixed}", f"squash_mean = {fixed is None}")
    observations, actions = batch()
    weights = np.random.default_rng(1).random((1, 64)).astype(np.float32)
    h = observations[0]
    for i, layer in enumerate(made.network.layers_):
        h = np.maximum(h, 0) if i else h
        h = h @ layer.kernel.numpy()[0] + layer.bias.numpy()[0]
    mean, stddev = (np.tanh(h), 1.0) if fixed is None else (h, fixed)
    density = np.exp(-0.5 * ((actions[0] - mean) / stddev) ** 2)
    density = np.prod(density / (stddev * math.sqrt(2 * math.pi)), -1)
    found = made.loss(made.network, observations, actions, 0, True, weights)
    expected = -(weights[0] * np.log(density)).mean()
    np.testing.assert_allclose(found[0], expected, rtol=2e-5)


def test_weighted_regression_ends_at_its_closed_form():
    """IDQL eq. 3: of a state's actions, weighted by exp(A / temperature), the mean."""
    made = model(
        (0,), "hidden_dims = ()", "squash_mean = False", "learning_rate = 0.02"
    )
    rng = np.random.default_rng(2)
    states = rng.integers(5, size=400)
    actions = rng.uniform(-0.9, 0.9, (400, 2)).astype(np.float32)
    advantage = (actions[:, 0] - 0.3 * states).astype(np.float32)
    weights = ExponentialAdvantage(3.0, 100.0)(tf.constant(advantage)).numpy()
    w = np.minimum(np.exp(3.0 * advantage), 100.0)
    np.testing.assert_allclose(weights, w, rtol=1e-5)
    observations = np.eye(5, dtype=np.float32)[states]
    update = tf.function(made.update)
    data = [tf.constant(x[None]) for x in (observations, actions, weights)]
    for _ in range(1_500):
        update(*data)
    expected = np.stack(
        [np.average(actions[states == s], 0, w[states == s]) for s in range(5)]
    )
    mean, log_stddev = made.network(tf.eye(5)[None])
    np.testing.assert_allclose(mean[0], expected, atol=2e-3)
    variance = np.average((actions - expected[states]) ** 2, 0, w)
    np.testing.assert_allclose(np.exp(2 * log_stddev[0]), variance, rtol=5e-3)


def test_candidates_have_the_mean_and_the_deviation():
    made = model((0, 1), "sampler_temperature = 0.5", "fixed_stddev = 0.2")
    observations, _ = batch(3, 2)
    keys = tf.constant([[1, 2], [3, 4]], tf.int64)
    noise = made.draw_noise(3, 4_000, keys)
    assert noise.shape == (2, 1, 12_000, 2)
    drawn = made.denoise(tf.constant(observations), noise, 4_000).numpy()
    mean = made.average(observations)[0].numpy()
    assert drawn.shape == (2, 3, 4_000, 2) and np.abs(drawn).max() <= 1.0
    inside = np.abs(mean) < 0.6
    np.testing.assert_allclose(drawn.mean(2)[inside], mean[inside], atol=0.008)
    np.testing.assert_allclose(drawn.std(2)[inside], 0.1, atol=0.005)
    assert inside.mean() > 0.5


def test_iql_acts_with_its_mean():
    made = model()
    observations, _ = batch(3)
    noise = made.draw_noise(3, 2, tf.constant([[1, 2]], tf.int64))
    drawn = made.denoise(tf.constant(observations), noise, 2)
    mean = made.average(observations)[0]
    np.testing.assert_array_equal(drawn[:, :, 0], tf.clip_by_value(mean, -1.0, 1.0))
    np.testing.assert_array_equal(drawn[:, :, 0], drawn[:, :, 1])


@pytest.mark.parametrize("binding", ["fixed_stddev = 0.0", "hidden_dims = (0,)"])
def test_what_cannot_be_used_is_refused(binding):
    with pytest.raises(UserError, match=binding.split()[0]):
        model((0,), binding)
    gin.clear_config()
