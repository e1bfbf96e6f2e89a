import functools

import numpy as np
import pytest
import tensorflow as tf
import tiny_networks
from scipy import stats

from idql_tf import extraction
from idql_tf.behavior import schedules
from idql_tf.behavior.updates import Behavior
from idql_tf.critic.objectives import Expectile, Exponential, Quantile
from idql_tf.critic.updates import Critic
from idql_tf.errors import UserError
from idql_tf.nn import randomness

D, A, T = 3, 2, 5
SEEDS = tf.constant([11, 12], tf.int64)
NETWORK = functools.partial(tiny_networks.RESNET, num_blocks=1)


def _randomize(module, seed, scale):
    rng = np.random.default_rng(seed)
    for variable in module.trainable_variables:
        variable.assign(scale * rng.normal(size=variable.shape))


def _critic(objective=Expectile(0.9)):  # noqa: B008, it is frozen
    critic = Critic(D, A, (0, 1), objective, (8, 8), 2, 0.99, 3e-4, 0.005)
    for i, network in enumerate((critic.q, critic.target_q, critic.value)):
        _randomize(network, i, 0.7)
    return critic


def _behavior():
    behavior = Behavior(D, A, (0, 1), NETWORK, schedules.vp, T, 3e-4, None, 0.001)
    _randomize(behavior.network, 10, 0.4)
    _randomize(behavior.average, 11, 0.4)
    return behavior


CRITIC, BEHAVIOR = _critic(), _behavior()


def _observations(batch, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(size=(2, batch, D)), tf.float32)


def _extract(method, n, observations, step=3, critic=CRITIC, seeds=SEEDS, **options):
    step = tf.constant(step, tf.int64)
    return extraction.extract(
        critic, BEHAVIOR, observations, seeds, step, method, n, **options
    )


def _candidates(network, observations, n, step=3):
    """The reverse chain in NumPy around the network's whole forward pass."""
    batch = observations.shape[1]
    keys = randomness.keys(SEEDS, "candidates", step)
    draws = randomness.normal(keys, [T, batch * n, A]).numpy()
    repeated = tf.repeat(observations, n, axis=1)
    beta = schedules.vp(T)
    alpha_bar = np.cumprod(1 - beta)
    x = draws[:, 0]
    for k, t in enumerate(reversed(range(T))):
        steps = tf.fill([2, batch * n], t)
        noise = network(tf.constant(x, tf.float32), repeated, steps, T).numpy()
        x = x - beta[t] / np.sqrt(1 - alpha_bar[t]) * noise
        x = x / np.sqrt(1 - beta[t])
        if t > 0:
            x = x + np.sqrt(beta[t]) * draws[:, k + 1]
        x = np.clip(x, -1, 1)
    return x.reshape(2, batch, n, A)


def _forward(network, x):
    for i, layer in enumerate(network.layers_):
        x = np.maximum(x, 0) if i else x
        x = x @ layer.kernel.numpy() + layer.bias.numpy()[..., None, :]
    return x[..., 0]


def _q(network, observations, candidates):
    n = candidates.shape[2]
    repeated = np.repeat(observations.numpy(), n, axis=1)
    joined = np.concatenate([repeated, candidates.reshape(*repeated.shape[:2], A)], -1)
    q = _forward(network, joined[:, None]).min(1)
    return q.reshape(candidates.shape[:3])


def _pick(array, index):
    index = index.reshape(*index.shape, *[1] * (array.ndim - 2))
    return np.take_along_axis(array, index, 2)[:, :, 0]


def test_samples_are_the_reverse_chain_of_the_average():
    observations = _observations(7)
    keys = randomness.keys(SEEDS, "candidates", 3)
    sampled = BEHAVIOR.denoise(observations, BEHAVIOR.draw_noise(7, 6, keys), 6).numpy()
    expected = _candidates(BEHAVIOR.average, observations, 6)
    np.testing.assert_allclose(sampled, expected, atol=1e-4)
    other = _candidates(BEHAVIOR.network, observations, 6)
    assert np.abs(sampled - other).mean() > 0.05
    inside = np.abs(sampled) < 1
    assert 0.05 < inside.mean() < 1, "some are clipped, some are not"
    assert np.abs(sampled).max() <= 1


@pytest.mark.parametrize("batch", [1, 7])
def test_argmax_takes_the_largest_minimum_target_q(batch):
    observations = _observations(batch)
    candidates = _candidates(BEHAVIOR.average, observations, 16)
    q = _q(CRITIC.target_q, observations, candidates)
    index = q.argmax(-1)
    found = _extract("argmax", 16, observations)
    np.testing.assert_allclose(found.action, _pick(candidates, index), atol=1e-4)
    np.testing.assert_allclose(found.q_value, q.max(-1), rtol=1e-4, atol=1e-4)
    value = _forward(CRITIC.value, observations.numpy())
    np.testing.assert_allclose(found.value, value, rtol=1e-4, atol=1e-4)
    # What a confusion of the networks would have chosen is another action.
    trained = _q(CRITIC.q, observations, candidates).argmax(-1)
    assert (_pick(candidates, trained) != _pick(candidates, index)).any()


def _numpy_weights(name, u):
    raw = {
        "expectile": lambda: np.where(u > 0, 0.9, 0.1),
        "quantile": lambda: np.where(u > 0, 0.7, 0.3) / np.abs(u),
        "exponential": lambda: np.abs(np.expm1(1.5 * u) / u),
        "softmax": lambda: np.exp(3.0 * u),
    }[name]()
    return raw / raw.sum(-1, keepdims=True)


CHOICES = {
    "expectile": ("implicit", Expectile(0.9)),
    "quantile": ("implicit", Quantile(0.7)),
    "exponential": ("implicit", Exponential(1.5)),
    "softmax": ("softmax", Expectile(0.5)),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_as_frequent_as_their_weights(name):
    """One state, fixed candidates: a chi-square of 40,000 draws."""
    method, objective = CHOICES[name]
    u = np.array([-1.0, -0.3, 0.4, 1.2])
    v = 0.7
    q = tf.constant((u + v)[None, None], tf.float32)
    critic = _critic(objective)
    drawn = extraction.Candidates(q[..., None], q, tf.constant([[v]]))
    p = extraction.probabilities(method, drawn, critic, temperature=3.0)
    expected = _numpy_weights(name, u)
    np.testing.assert_allclose(p[0, 0], expected, rtol=1e-4)
    size = 40_000
    draws = randomness.uniform(randomness.keys(SEEDS[:1], "choice", 0), [size])
    index = extraction.choose(tf.tile(p, [1, size, 1]), draws).numpy()
    counts = np.bincount(index[0], minlength=4)
    assert stats.chisquare(counts, size * expected / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize("name", CHOICES)
def test_extraction_follows_the_weights(name):
    """Candidates ranked by Q: each rank is chosen as often as its weights say."""
    method, objective = CHOICES[name]
    critic, n = _critic(objective), 4
    observations = _observations(3_000)
    candidates = _candidates(BEHAVIOR.average, observations, n)
    order = _q(critic.target_q, observations, candidates).argsort(-1)
    candidates = np.take_along_axis(candidates, order[..., None], 2)
    q = _q(critic.target_q, observations, candidates)
    u = q - _forward(critic.value, observations.numpy())[..., None]
    options = {"temperature": 3.0} if method == "softmax" else {}
    found = _extract(method, n, observations, critic=critic, **options)
    distance = np.abs(candidates - found.action.numpy()[:, :, None]).max(-1)
    assert distance.min(-1).max() < 1e-3, "only candidates are chosen"
    # Where two candidates are alike (clipped), the choice cannot be told.
    gaps = np.abs(candidates[:, :, :, None] - candidates[:, :, None]).max(-1)
    told = (gaps + 2 * np.eye(n)).min((-1, -2)) > 0.01
    assert told.sum() > 1_500
    chosen = distance.argmin(-1)[told][:, None] == np.arange(n)
    p = _numpy_weights(name, u)[told]
    z = (chosen - p).sum(0) / np.sqrt((p * (1 - p)).sum(0))
    assert np.abs(z).max() < 4, z
    assert np.abs(p - 1 / n).max() > 0.1, "the weights are not uniform"


def test_the_choice_has_draws_of_its_own():
    """Not those of the candidates: a stream of that name, at the same step."""
    observations, n = _observations(200), 4
    candidates = _candidates(BEHAVIOR.average, observations, n)
    q = _q(CRITIC.target_q, observations, candidates)
    u = q - _forward(CRITIC.value, observations.numpy())[..., None]
    draws = randomness.uniform(randomness.keys(SEEDS, "choice", 3), [200]).numpy()
    cumulative = np.cumsum(_numpy_weights("expectile", u), -1)
    index = (cumulative[..., :-1] <= draws[..., None]).sum(-1)
    found = _extract("implicit", n, observations)
    np.testing.assert_allclose(found.action, _pick(candidates, index), atol=1e-3)
    np.testing.assert_allclose(found.q_value, _pick(q, index), atol=1e-3)


def test_choose_at_the_ends_of_the_unit_interval():
    p = tf.constant([[[0.0, 0.3, 0.0, 0.7, 0.0]] * 6])
    last = np.nextafter(np.float32(1), np.float32(0))
    draws = tf.constant([[0.0, 2.0**-24, 0.2999, 0.3001, 0.9999, last]])
    index = extraction.choose(p, draws)
    assert index.dtype == tf.int32
    np.testing.assert_array_equal(index, [[1, 1, 1, 3, 3, 3]])


@pytest.mark.parametrize("total", [1.0, 0.999, 1.001])
def test_choose_never_takes_what_has_no_probability(total):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(32, 0.3), size=(2, 5_000)).astype(np.float32)
    p[rng.random(p.shape) < 0.5] = 0.0
    p[..., 7] += 1e-3
    p *= total / p.sum(-1, keepdims=True)
    last = np.nextafter(np.float32(1), np.float32(0))
    for draw in (0.0, 2.0**-24, 0.5, last):
        draws = tf.fill([2, 5_000], tf.constant(draw, tf.float32))
        index = extraction.choose(tf.constant(p), draws).numpy()
        assert index.min() >= 0 and index.max() < 32
        assert (np.take_along_axis(p, index[..., None], -1) > 0).all()


@pytest.mark.parametrize("method", extraction.METHODS)
@pytest.mark.parametrize("batch", [1, 7])
def test_one_candidate_is_the_behaviour_policy(method, batch):
    observations = _observations(batch)
    found = _extract(method, 1, observations)
    expected = _candidates(BEHAVIOR.average, observations, 1)[:, :, 0]
    np.testing.assert_allclose(found.action, expected, atol=1e-4)
    assert found.q_value.shape == found.value.shape == (2, batch)


@pytest.mark.parametrize("method", extraction.METHODS)
def test_actions_are_a_function_of_seeds_and_step(method):
    observations = _observations(7)

    def act(step, seeds=SEEDS):
        return _extract(method, 4, observations, step, seeds=seeds).action.numpy()

    first = act(3)
    assert first.shape == (2, 7, A) and np.abs(first).max() <= 1
    np.testing.assert_array_equal(first, act(3))
    assert (first != act(4)).any((1, 2)).all(), "another step, for every member"
    other = act(3, tf.constant([11, 99], tf.int64))
    np.testing.assert_allclose(other[0], first[0], atol=1e-6)
    assert (other[1] != first[1]).any()


@pytest.mark.parametrize("alpha", [1.0, 10.0])
@pytest.mark.parametrize("largest", [80.0, 200.0, 1e4])
def test_a_huge_advantage_takes_all_the_weight(largest, alpha):
    critic = _critic(Exponential(alpha))
    q = tf.constant([[[0.0, largest, -largest, 1.0]]])
    drawn = extraction.Candidates(q[..., None], q, tf.constant([[0.0]]))
    p = extraction.probabilities("implicit", drawn, critic).numpy()
    np.testing.assert_allclose(p[0, 0], [0, 1, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    "method, n, message",
    [
        ("best", 4, "'best'"),
        ("argmax", 0, "num_candidates is 0; expected an integer >= 1"),
    ],
)
def test_what_cannot_be_chosen_is_refused(method, n, message):
    with pytest.raises(UserError, match=message):
        _extract(method, n, _observations(1))


@pytest.mark.parametrize("num_candidates", ["4", 4.0, True, None])
def test_what_is_no_number_of_candidates_is_refused(num_candidates):
    with pytest.raises(UserError, match="num_candidates is .*expected an integer"):
        extraction.check_method("argmax", num_candidates)
