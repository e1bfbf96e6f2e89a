"""A run that diverges stops, says where, and saves nothing of it."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tiny_learner as tiny
from tiny_run import run_warm, train

from idql_tf.training.blocks import NotFinite
from idql_tf.training.divergence import Guard

SEEDS = (3, 7)
POISONED = 1_234


@pytest.fixture(scope="module")
def learner():
    return tiny.learner(SEEDS)


@pytest.fixture(scope="module")
def sound(learner):
    return tiny.state(learner)


@pytest.fixture(autouse=True)
def _begin_again(learner, sound):
    for variable, values in zip(learner.variables, sound, strict=True):
        variable.assign(values)


def _arrays(reward=None):
    arrays = tiny.arrays()
    if reward is None:
        return arrays
    rewards = arrays.rewards.numpy()
    rewards[POISONED] = reward
    return arrays._replace(rewards=tf.constant(rewards))


def _guard(path, learner, arrays, q_limit=100.0):
    drawn = functools.partial(learner.drawn, arrays)
    return Guard(path, learner, drawn, tiny.arrays().rewards.numpy(), q_limit)


def _stopped(guard, *taken):
    with pytest.raises(FloatingPointError) as error:
        guard.watch(functools.partial(*taken))
    return str(error.value)


def _saved(path):
    with np.load(path / "diverged.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file}


def test_the_update_and_the_transition_that_did_it_are_named(learner, tmp_path):
    arrays = _arrays(reward=1e25)
    start = 5
    learner.train(tiny.arrays(), start, start)
    state = tiny.state(learner)
    # One by one, without the count that a block keeps.
    with pytest.raises(NotFinite) as raised:
        while int(learner.critic_step) < 500:
            learner.train(arrays, 1, 0)
    first, update = raised.value, int(learner.critic_step) - 1
    assert (first.room, first.update) == ("critic", update)
    for variable, values in zip(learner.variables, state, strict=True):
        variable.assign(values)
    guard = _guard(tmp_path, learner, arrays)
    said = _stopped(guard, learner.train, arrays, update + 20, 10)
    seed = SEEDS[first.member]
    assert f"a critic loss of seed {seed} is not finite" in said
    assert f"after critic update {update:,}: transition {POISONED:,} of the" in said
    assert "has 1e+25 in its rewards" in said and "mend the data" in said
    assert "\n" not in said
    batch = _saved(tmp_path)
    assert (batch["seed"], batch["update"], batch["room"]) == (seed, update, "critic")
    rows = batch["transition"]
    np.testing.assert_array_equal(batch["rewards"], arrays.rewards.numpy()[rows])
    np.testing.assert_array_equal(batch["observations"], arrays.rows.numpy()[rows])
    np.testing.assert_array_equal(batch["actions"], arrays.actions.numpy()[rows])
    assert POISONED in rows and not batch["is_online"].any()


def test_weights_that_grew_are_not_blamed_on_the_data(learner, tmp_path):
    arrays = _arrays()
    guard = _guard(tmp_path, learner, arrays)
    for variable in learner.behavior.network.trainable_variables:
        variable.assign(tf.ones_like(variable) * 1e30)
    said = _stopped(guard, learner.train, arrays, 1, 2)
    assert "a behavior loss of seed 3" in said and "smaller learning rate" in said
    assert "no number in its batch is beyond 1e+09" in said
    assert _saved(tmp_path)["room"] == "behavior"


def test_a_state_that_is_not_finite_is_not_saved(learner, tmp_path):
    arrays = _arrays()
    guard = _guard(tmp_path, learner, arrays)
    guard.watch(functools.partial(learner.train, arrays, 3, 4))
    guard.check_state()
    for module, room, update in (
        (learner.critic.q_optimizer.second, "critic", 2),
        (learner.behavior.average.variables, "behavior", 3),
    ):
        variable = module[1]
        before = variable.numpy()
        poisoned = before.copy()
        poisoned[1].flat[-1] = np.inf
        variable.assign(poisoned)
        with pytest.raises(FloatingPointError) as error:
            guard.check_state()
        variable.assign(before)
        said = f"a {room} weight of seed 7 is not finite after {room} update {update}"
        assert said in str(error.value)
        assert _saved(tmp_path)["update"] == update


def test_q_beyond_what_rewards_allow_stops(learner, tmp_path):
    arrays = _arrays()
    guard = _guard(tmp_path, learner, arrays)
    take = functools.partial(learner.train, arrays, 2, 0)
    guard.watch(take)
    # max |r| / (1 - 0.99) x 100.
    limit = 1e4 * np.abs(arrays.rewards.numpy()).max()
    bias = learner.critic.target_q.trainable_variables[-1]
    bias.assign(tf.ones_like(bias) * 0.99 * limit)
    guard.watch(take)
    bias.assign(-tf.ones_like(bias) * 1.02 * limit)
    said = _stopped(guard, take)
    assert "the mean |Q| of seed" in said and "divergence.q_limit" in said
    assert f"expected at most {limit:.4g}" in said
    assert len(_saved(tmp_path)["rewards"]) == 32


def test_what_is_no_divergence(learner, tmp_path):
    arrays = _arrays()
    take = functools.partial(learner.train, arrays, 1, 0)
    bias = learner.critic.target_q.trainable_variables[-1]
    # Large from the start, as with observations in large units.
    bias.assign(tf.ones_like(bias) * 1e8)
    guard = _guard(tmp_path, learner, arrays)
    guard.watch(take)
    bias.assign(tf.ones_like(bias) * 1e9)
    guard.watch(take)
    # Rewards that came online.
    bias.assign(tf.zeros_like(bias))
    guard = _guard(tmp_path, learner, arrays)
    guard.watch(take)
    guard.allow(np.full([2, 2], -1e5))
    bias.assign(tf.ones_like(bias) * 1e8)
    guard.watch(take)


def test_the_capped_share_of_the_exponential_objective(learner):
    assert "critic/capped_share" not in learner.train(_arrays(), 1, 1)
    learner = tiny.learner(
        (0,), "Critic.objective = @Exponential()", "Exponential.alpha = 2.0"
    )
    arrays = _arrays()
    drawn = learner.drawn(arrays, "critic", 0).batch
    bias = learner.critic.target_q.trainable_variables[-1]
    bias.assign_add(tf.ones_like(bias) * 0.8)
    u = learner.critic.advantage(drawn.observations, drawn.actions).numpy()
    share = np.mean(np.exp(2.0 * u) > 6.0)
    assert 0.0 < share < 1.0
    metrics = learner.train(arrays, 1, 1)
    np.testing.assert_allclose(metrics["critic/capped_share"], [share], rtol=1e-6)


def test_a_run_that_diverges_ends_with_one_line(maze, tmp_path):
    params = [
        "CRITIC_STEPS=400",
        "BEHAVIOR_STEPS=400",
        "LnResnet.hidden_dim=8",
        "Critic.hidden_dims=(8,)",
        "IdqlLearner.critic_batch_size=8",
        "IdqlLearner.behavior_batch_size=8",
        "train.block_steps=20",
        "train.checkpoint_every=20",
        # The cosine's end is far: the rate falls short of this only late.
        "Behavior.learning_rate=1e12",
        "Behavior.weight_decay=0.001",
    ]
    run_dir = tmp_path / "run"
    done = run_warm(train(maze, run_dir, params=params))
    assert done.returncode == 1, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: a behavior loss of seed 0")
    assert f"its batch is in {run_dir}/diverged.npz" in lines[0]
    assert "transition" in _saved(run_dir)
