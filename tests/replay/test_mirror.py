import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tiny_replay import SIZES, consistent, item

from idql_tf.errors import UserError
from idql_tf.nn import randomness
from idql_tf.replay.layout import pack
from idql_tf.replay.mirror import Mirror

SEEDS = tf.constant([3, 4], tf.int64)


def _filled(capacity, items):
    mirror = Mirror(SIZES, capacity)
    for number in range(items):
        mirror.append(pack(item(number)))
    return mirror


def _rewards(mirror, seed):
    """All rewards that a seed can draw."""
    keys = randomness.keys(SEEDS, "test", 0)
    return set(mirror.draw(keys, 2_000).rewards[seed].numpy().tolist())


def _expected(numbers, seed):
    return {
        float(100 * n + e * SIZES.num_seeds + seed)
        for n in numbers
        for e in range(SIZES.num_environments)
    }


def test_a_draw_holds_whole_transitions_of_its_own_seed():
    mirror = _filled(100, 10)
    assert int(mirror.size) == int(mirror.inserted) == 40
    batch = mirror.draw(randomness.keys(SEEDS, "test", 0), 500)
    assert consistent(batch._asdict())
    assert batch.observations.shape == [2, 500, 3] and batch.rewards.shape == [2, 500]
    for seed in range(SIZES.num_seeds):
        assert _rewards(mirror, seed) == _expected(range(10), seed)


def test_a_full_mirror_drops_the_oldest():
    # 10 is no multiple of the 4 transitions of an item.
    mirror = _filled(10, 7)
    assert int(mirror.size) == 10 and int(mirror.inserted) == 28
    for seed in range(SIZES.num_seeds):
        kept = {float(100 * 4 + 2 * e + seed) for e in (2, 3)}
        assert _rewards(mirror, seed) == kept | _expected((5, 6), seed)


def test_one_append_equals_many():
    whole, pieces = Mirror(SIZES, 10), _filled(10, 7)
    whole.append(np.concatenate([pack(item(number)) for number in range(7)]))
    for ours, theirs in zip(whole.variables, pieces.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_draws_are_uniform():
    mirror = _filled(100, 10)
    drawn = mirror.draw(randomness.keys(SEEDS, "test", 1), 40_000).rewards[0].numpy()
    _, counts = np.unique(drawn, return_counts=True)
    # 1,000 expected of each; six standard deviations.
    assert len(counts) == 40 and np.abs(counts - 1_000).max() < 6 * 31


def test_a_capacity_beyond_memory_is_refused():
    sizes = dataclasses.replace(SIZES, observation_size=100_000)
    with pytest.raises(UserError, match=r"capacity is 1,000,000,000, .* GiB"):
        Mirror(sizes, 1_000_000_000)
