import numpy as np
import pytest
import tensorflow as tf

from idql_tf.data.rewards import RewardRule
from idql_tf.data.transitions import DatasetInfo, Transitions, aligned_empty
from idql_tf.nn import dense
from idql_tf.training import arrays

# Rows 3, 6 and 7 start no transition: last observations, and one never used.
INDEX = np.array([0, 1, 2, 4, 5, 8, 9], np.int32)
RULE = RewardRule("a test", 2.0, -3.0)


def _transitions(rows=None):
    """Row r shows r in every entry; transition i has i in every one."""
    count = len(INDEX)
    made = aligned_empty((11, 3))
    made[:] = np.arange(11)[:, None] + [0.0, 0.25, 0.5]
    actions = aligned_empty((count, 2))
    actions[:] = -np.arange(count)[:, None] / 10 + [0.0, 0.01]
    info = DatasetInfo("a test", "", None, (), 3, (-1.0,) * 2, (1.0,) * 2, None, 3)
    return Transitions(
        rows=made if rows is None else rows,
        index=INDEX,
        actions=actions,
        rewards=np.arange(count, dtype=np.float32),
        masks=(np.arange(count) % 3 > 0).astype(np.float32),
        dones=np.isin(np.arange(count), [2, 4, 6]),
        info=info,
    )


# [S, B], in no order and with repeats.
CHOSEN = np.array([[3, 0, 6, 3], [5, 4, 2, 1]], np.int32)


def test_batches_hold_the_chosen_transitions():
    transitions = _transitions()
    placed = arrays.to_device(transitions, RULE, 0.3)
    batch = arrays.critic_batch(placed, tf.constant(CHOSEN))
    row = np.array([[4, 0, 9, 4], [8, 5, 2, 1]])[..., None] + [0.0, 0.25, 0.5]
    actions = -CHOSEN[..., None] / 10 + [0.0, 0.01]
    np.testing.assert_array_equal(batch.observations, row)
    np.testing.assert_array_equal(batch.next_observations, row + 1)
    np.testing.assert_allclose(batch.actions, actions, rtol=1e-6)
    np.testing.assert_array_equal(batch.rewards, 2.0 * CHOSEN - 3.0)
    np.testing.assert_array_equal(batch.masks, CHOSEN % 3 > 0)
    assert {part.dtype for part in batch[:5]} == {tf.float32}

    observations, behaved = arrays.behavior_batch(placed, tf.constant(CHOSEN))
    np.testing.assert_array_equal(observations, row)
    np.testing.assert_array_equal(behaved, batch.actions)
    np.testing.assert_array_equal(transitions.rewards, np.arange(7))


def test_placed_parts_are_the_split():
    placed = arrays.to_device(_transitions(), RULE, 0.3)
    train, validation = arrays.split(7, 0.3)
    np.testing.assert_array_equal(placed.train, train)
    np.testing.assert_array_equal(placed.validation, validation)


@pytest.mark.parametrize(
    "size, fraction, held_out",
    [(1_000, 0.05, 50), (999, 0.05, 50), (7, 0.3, 2), (10, 0.0, 0), (1, 0.05, 0)],
)
def test_split_is_disjoint_complete_and_repeatable(size, fraction, held_out):
    train, validation = arrays.split(size, fraction)
    assert len(validation) == held_out
    assert train.dtype == validation.dtype == np.int32
    together = np.sort(np.concatenate([train, validation]))
    np.testing.assert_array_equal(together, np.arange(size))
    assert (np.diff(train) > 0).all()
    for first, second in zip(
        (train, validation), arrays.split(size, fraction), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_first_held_out_transitions_span_the_file():
    """Validation takes the first 4096; they must not be one end of the data."""
    size = 200_000
    _, validation = arrays.split(size, 0.05)
    assert len(validation) == 10_000
    counts = np.bincount(validation[:4_096] // (size // 10), minlength=10)
    assert counts.min() > 330 and counts.max() < 490, counts


@pytest.mark.skipif(dense.on_gpu(), reason="a GPU has its own memory")
def test_a_cpu_shares_the_memory_of_the_large_arrays():
    transitions = _transitions()
    placed = arrays.to_device(transitions, RULE, 0.3)
    transitions.rows[4] = 77.0
    transitions.actions[2] = 0.5
    np.testing.assert_array_equal(placed.rows[4], [77.0] * 3)
    np.testing.assert_array_equal(placed.actions[2], [0.5] * 2)


def test_memory_that_cannot_be_shared_is_copied():
    rows = np.arange(33, dtype=np.float32).reshape(11, 3)
    rows.flags.writeable = False
    fortran = np.asfortranarray(rows)
    for unsuitable in (rows, fortran):
        placed = arrays.to_device(_transitions(unsuitable), RULE, 0.3)
        np.testing.assert_array_equal(placed.rows, rows)


def test_only_the_best_episodes_are_trained_on():
    transitions = _transitions()
    returns, lengths = transitions.episode_returns(), transitions.episode_lengths()
    assert len(returns) > 1 and len(set(returns)) == len(returns)
    episode = np.repeat(np.arange(len(returns)), lengths)
    whole = arrays.to_device(transitions, RULE, 0.3)
    best = arrays.to_device(transitions, RULE, 0.3, best_fraction=0.01)
    wanted = [i for i in whole.train.numpy() if episode[i] == np.argmax(returns)]
    np.testing.assert_array_equal(best.train, wanted)
    np.testing.assert_array_equal(best.validation, whole.validation)
