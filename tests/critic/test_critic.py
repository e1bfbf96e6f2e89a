import golden
import numpy as np
import pytest
import tensorflow as tf

from idql_tf.critic.networks import QNetwork, VNetwork
from idql_tf.critic.objectives import Expectile
from idql_tf.critic.updates import Critic, CriticBatch
from idql_tf.nn import dense


def test_golden_q_and_v():
    q = QNetwork(11, 3, (256, 256), (0,))
    golden.fill_network(q)
    actual = q(golden.OBSERVATIONS, golden.ACTIONS)[0]
    expected = [[2.9519730, 0.4121195], [1.0629682, 2.3055012]]
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    for layer_norm, expected in (
        (False, [1.3921261, 2.4755391]),
        (True, [1.4534271, 2.6884229]),
    ):
        v = VNetwork(11, (256, 256), (0,), layer_norm)
        golden.fill_network(v)
        np.testing.assert_allclose(v(golden.OBSERVATIONS)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "observation, action, q_count, v_count, head_v_count",
    [
        (11, 3, 139_778, 69_121, 69_143),
        (17, 6, 144_386, 70_657, 70_691),
        (29, 8, 151_554, 73_729, 73_787),
    ],
)
def test_parameter_counts(observation, action, q_count, v_count, head_v_count):
    q = QNetwork(observation, action, (256, 256), (0,))
    assert dense.num_parameters(q) == q_count
    assert dense.num_parameters(VNetwork(observation, (256, 256), (0,))) == v_count
    head = VNetwork(observation, (256, 256), (0,), layer_norm=True)
    assert dense.num_parameters(head) == head_v_count


def test_candidates_share_their_observation():
    q = QNetwork(5, 2, (32, 32), (1, 2, 3))
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(3, 4, 5)).astype(np.float32)
    candidates = rng.normal(size=(3, 4, 6, 2)).astype(np.float32)
    together = q.from_features(q.observation_features(observations), candidates)
    for n in range(6):
        alone = q(observations, candidates[:, :, n])
        np.testing.assert_allclose(together[..., n], alone, atol=1e-6)


def _critic(**overrides):
    settings = {
        "objective": Expectile(0.8),
        "hidden_dims": (16, 16),
        "num_q": 2,
        "discount": 0.9,
        "learning_rate": 1e-2,
        "target_rate": 0.25,
    }
    return Critic(3, 2, (0,), **(settings | overrides))


def _batch(size=8, seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    masks = tf.constant(rng.integers(0, 2, (1, size)), tf.float32)
    return CriticBatch(
        draw(1, size, 3), draw(1, size, 2), draw(1, size), masks, draw(1, size, 3)
    )


def _copies(module):
    return [v.numpy().copy() for v in module.variables]


def test_losses_against_numpy():
    critic, batch = _critic(), _batch()
    losses = critic.losses(batch)
    q = critic.target_q(batch.observations, batch.actions).numpy()[0].min(0)
    u = q - critic.value(batch.observations).numpy()[0]
    expected = np.mean(np.where(u > 0, 0.8, 0.2) * u**2)
    assert float(losses["v_loss"][0]) == pytest.approx(expected, rel=1e-5)
    v_next = critic.value(batch.next_observations).numpy()[0]
    target = batch.rewards[0] + 0.9 * batch.masks[0] * v_next
    errors = critic.q(batch.observations, batch.actions).numpy()[0] - target
    assert float(losses["q_loss"][0]) == pytest.approx(np.mean(errors**2), rel=1e-5)


def test_target_moves_towards_the_new_q_by_its_rate():
    critic = _critic()
    critic.update(_batch())
    before = _copies(critic.target_q)
    critic.update(_batch(seed=1))
    for old, target, new in zip(
        before, critic.target_q.variables, critic.q.variables, strict=True
    ):
        np.testing.assert_allclose(target, 0.75 * old + 0.25 * new, atol=1e-6)


def test_q_bootstraps_from_the_value_after_its_step():
    critic, batch = _critic(), _batch()
    critic.update(batch)
    # The Q gradient of the first step is reproducible from the new V only.
    fresh = _critic()
    for variable, value in zip(
        fresh.value.variables, critic.value.variables, strict=True
    ):
        variable.assign(value)
    with tf.GradientTape() as tape:
        loss = fresh.q_loss(batch)
    gradient = tape.gradient(loss, fresh.q.trainable_variables)
    fresh.q_optimizer.apply(gradient, 1e-2)
    for ours, theirs in zip(critic.q.variables, fresh.q.variables, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_terminal_transition_ignores_what_follows():
    critic, batch = _critic(), _batch()
    terminal = batch._replace(masks=tf.zeros_like(batch.masks))
    changed = terminal._replace(next_observations=terminal.next_observations + 5.0)
    np.testing.assert_array_equal(critic.q_loss(terminal), critic.q_loss(changed))
    assert not np.allclose(critic.q_loss(batch), critic.q_loss(terminal))


def _networks(critic):
    return {
        (name, i): variable
        for name in ("q", "value", "target_q")
        for i, variable in enumerate(_copies(getattr(critic, name)))
    }


def test_losses_change_nothing_and_updates_change_everything():
    critic = _critic()
    networks, everything = _networks(critic), _copies(critic)
    assert len(networks) == 3 * 6, "three layers' kernels and biases each"
    critic.losses(_batch())
    for old, new in zip(everything, critic.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    for key, new in _networks(critic).items():
        np.testing.assert_array_equal(networks[key], new, err_msg=str(key))
    critic.update(_batch())
    for key, new in _networks(critic).items():
        assert not np.array_equal(networks[key], new), key


def test_value_reaches_the_expectile_of_fixed_targets():
    """With Q frozen, V of one state converges to the expectile of its Q."""
    critic = _critic(target_rate=0.0, learning_rate=3e-3)
    rng = np.random.default_rng(1)
    actions = tf.constant(rng.normal(size=(1, 64, 2)), tf.float32)
    batch = _batch(64)._replace(observations=tf.ones([1, 64, 3]), actions=actions)
    update = tf.function(critic.update)
    for _ in range(600):
        update(batch)
    q = critic.target_q(batch.observations, actions).numpy()[0].min(0)
    v = critic.value(batch.observations).numpy()[0, 0]
    u = q - v
    balance = np.sum(np.where(u > 0, 0.8, 0.2) * u) / np.sum(np.abs(u))
    assert abs(balance) < 0.02
