import gin
import numpy as np
import pytest
import tensorflow as tf

from idql_tf import config
from idql_tf.behavior.categorical import CategoricalBehavior
from idql_tf.errors import UserError

D, A = 4, 3


def model(seeds=(0,), *bindings):
    config.load([], [f"CategoricalBehavior.{b}" for b in bindings])
    made = CategoricalBehavior(D, A, seeds)
    gin.clear_config()
    return made


def test_the_loss_is_the_cross_entropy():
    made = model((0, 1))
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(2, 9, D)).astype(np.float32)
    taken = rng.integers(A, size=(2, 9))
    weights = rng.random((2, 9)).astype(np.float32)
    logits = made.network(observations).numpy().astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    each = -np.log(np.take_along_axis(p, taken[..., None], -1)[..., 0])
    actions = np.eye(A, dtype=np.float32)[taken]
    found = made.loss(made.network, observations, actions, 0, True, weights)
    np.testing.assert_allclose(found, (weights * each).mean(-1), rtol=1e-5)


def test_it_learns_the_frequencies_of_the_actions():
    made = model((0,), "hidden_dims = ()", "learning_rate = 0.1", "average_rate = 1.0")
    rng = np.random.default_rng(1)
    states = rng.integers(D, size=600)
    taken = (rng.random(600) < 0.2 + 0.2 * states).astype(int)
    observations = tf.eye(D).numpy()[states][None]
    actions = np.eye(A, dtype=np.float32)[taken][None]
    update = tf.function(made.update)
    for _ in range(200):
        update(tf.constant(observations), tf.constant(actions))
    prior = np.exp(made.prior(tf.eye(D)[None], 1_000_000)[0])
    rates = [np.bincount(taken[states == s], minlength=A) for s in range(D)]
    expected = [counts / counts.sum() for counts in rates]
    np.testing.assert_allclose(prior, expected, atol=0.01)


@pytest.mark.parametrize("n, plausible", [(1, "0"), (3, "0"), (4, "01"), (64, "012")])
def test_plausible_is_what_n_draws_would_contain(n, plausible):
    made = model((0,), "hidden_dims = ()")
    p = np.array([0.63, 0.32, 0.05], np.float32)
    for layer in made.average.layers_:
        layer.kernel.assign(tf.zeros_like(layer.kernel))
        layer.bias.assign(np.log(p)[None])
    observations = tf.zeros([1, 2, D])
    for count in (n, tf.constant(n)):
        prior = made.prior(observations, count).numpy()
        kept = np.isin(np.arange(A), [int(a) for a in plausible])
        expected = np.where(kept, np.log(p), -np.inf)
        np.testing.assert_allclose(prior[0], [expected] * 2, rtol=1e-5)


@pytest.mark.parametrize("binding", ["hidden_dims = (0,)", "average_rate = 2.0"])
def test_what_cannot_be_used_is_refused(binding):
    with pytest.raises(UserError, match=binding.split()[0]):
        model((0,), binding)
    gin.clear_config()
