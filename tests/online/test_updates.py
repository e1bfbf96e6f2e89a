import numpy as np
import pytest
import tensorflow as tf
import tiny_learner as tiny

from idql_tf.critic.updates import Critic
from idql_tf.errors import UserError
from idql_tf.online.updates import FinetuneUpdates
from idql_tf.replay.layout import Sizes, offline_part
from idql_tf.replay.mirror import Mirror

SEEDS = (0, 3)
SIZES = Sizes(num_seeds=2, observation_size=5, action_size=2, num_environments=1)
ROWS = np.random.default_rng(0).normal(size=(40, 2, 14)).astype(np.float32)


def _updates(fraction=0.5, rows=ROWS):
    learner, mirror = tiny.learner(SEEDS), Mirror(SIZES, 30)
    mirror.append(rows)
    arrays = tiny.arrays()
    return learner, arrays, FinetuneUpdates(learner, arrays, mirror, fraction)


def _batch(updates, room, parts):
    return [
        x.numpy() for x in updates._draw(room, tf.constant(7, tf.int64), *parts)[:5]
    ]


@pytest.mark.parametrize(
    "fraction, offline", [(0.5, 16), (0.25, 8), (1.0, 32), (0.0, 0)]
)
def test_a_batch_holds_the_stated_parts(fraction, offline):
    _, arrays, updates = _updates(fraction)
    found = _batch(updates, "critic", (offline, 32 - offline))
    assert updates._critic_parts == (offline, 32 - offline)
    assert [x.shape[:2] for x in found] == [(2, 32)] * 5
    observations, actions, rewards, masks, following = found
    chosen = arrays.train.numpy()
    data = {
        float(r): i for i, r in zip(chosen, arrays.rewards.numpy()[chosen], strict=True)
    }
    for seed in range(2):
        for i in range(offline):
            index = data[float(rewards[seed, i])]
            np.testing.assert_array_equal(observations[seed, i], arrays.rows[index])
            np.testing.assert_array_equal(following[seed, i], arrays.rows[index + 1])
            np.testing.assert_array_equal(actions[seed, i], arrays.actions[index])
            assert masks[seed, i] == arrays.masks[index]
        # The mirror's newest 30 rows, of this seed.
        online = {row.tobytes() for row in ROWS[10:, seed]}
        for i in range(offline, 32):
            row = np.concatenate(
                [
                    observations[seed, i],
                    actions[seed, i],
                    rewards[seed, i, None],
                    masks[seed, i, None],
                    following[seed, i],
                ]
            )
            assert row.tobytes() in online


def test_an_update_is_the_learners_own():
    learner, _, updates = _updates()
    twin = tiny.learner(SEEDS)
    metrics = updates.train(2, 1)
    for step in range(2):
        key = tf.constant(step, tf.int64)
        expected = twin.critic.update(updates._draw("critic", key, 16, 16))
        twin.critic_step.assign_add(1)
    batch = updates._draw("behavior", tf.constant(0, tf.int64), 32, 32)
    twin.behavior.update(batch.observations, batch.actions)
    tiny.assert_same(tiny.state(learner), tiny.state(twin), atol=1e-6)
    assert set(metrics) == {f"critic/{n}" for n in Critic.METRICS} | {"behavior/loss"}
    assert metrics["critic/q_loss"].shape == [2] and expected["q_loss"].shape == [2]


def test_what_was_drawn_is_found_again():
    """Also in a mirror whose oldest rows have been overwritten."""
    _, arrays, updates = _updates(0.25)
    drawn = updates.drawn("critic", 7)
    for found, expected in zip(
        drawn.batch[:5], _batch(updates, "critic", (8, 24)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    numbers, rewards = drawn.numbers.numpy(), drawn.batch.rewards.numpy()
    assert drawn.num_offline == 8 and numbers.shape == (2, 32)
    np.testing.assert_array_equal(
        rewards[:, :8], arrays.rewards.numpy()[numbers[:, :8]]
    )
    for seed in range(2):
        assert set(numbers[seed, 8:]) <= set(range(10, 40))
        # A row is observation, action, reward, mask and next observation.
        online = ROWS[numbers[seed, 8:], seed, 7]
        np.testing.assert_array_equal(rewards[seed, 8:], online)


def test_one_block_equals_many_of_one():
    whole, _, at_once = _updates()
    pieces, _, one_by_one = _updates()
    at_once.train(6, 3)
    for _ in range(3):
        one_by_one.train(2, 1)
    tiny.assert_same(tiny.state(whole), tiny.state(pieces))
    assert (int(whole.critic_step), int(whole.behavior_step)) == (6, 3)


def test_a_frozen_behavior_model_stays_as_it_is():
    learner, _, updates = _updates()
    before = tiny.state(learner.behavior)
    metrics = updates.train(5, 0)
    tiny.assert_same(before, tiny.state(learner.behavior))
    assert not any(name.startswith("behavior/") for name in metrics)


@pytest.mark.parametrize("fraction", [-0.1, 1.5, 1 / 3, float("nan")])
def test_fractions_that_are_none_are_refused(fraction):
    with pytest.raises(UserError, match="expected a fraction from 0 to 1"):
        offline_part(256, fraction)
