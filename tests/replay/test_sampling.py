import itertools
import re

import numpy as np
import pytest
from tiny_replay import DEADLINE, SIZES, consistent, item, serving

from idql_tf.data.rewards import RewardRule
from idql_tf.data.transitions import DatasetInfo, Transitions
from idql_tf.errors import UserError
from idql_tf.replay import loading, sampling
from idql_tf.replay.deadlines import ReplayTimeout
from idql_tf.replay.writer import TransitionWriter

M = 64


def _fill(client, chosen=range(M), size=8):
    """Transitions of negative rewards, so that they differ from online ones."""
    which = -1.0 - np.arange(M, dtype=np.float32)
    rows = np.zeros([2 * M, 3], np.float32)
    rows[::2], rows[1::2] = which[:, None] + 0.25, which[:, None] + 0.75
    transitions = Transitions(
        rows=rows,
        index=np.arange(0, 2 * M, 2, dtype=np.int32),
        actions=np.repeat(which[:, None] + 0.5, 2, 1),
        rewards=which / 2,
        masks=which % 2,
        dones=np.ones(M, bool),
        info=DatasetInfo("a test", "", None, (), 3, (-1.0,) * 2, (1.0,) * 2, None, 1),
    )
    rule, done = RewardRule("none", 2.0, 0.0), []
    chosen = np.array(chosen)
    return loading.fill(client, transitions, rule, chosen, size, DEADLINE, done.append)


def _write(client, items=10):
    writer = TransitionWriter(client, DEADLINE)
    for number in range(items):
        writer.write(item(number))
    writer.flush()


def _take(client, batch_size, fraction, count):
    address = client.server_address
    dataset = sampling.mixed_batches(address, batch_size, fraction, DEADLINE)
    return list(itertools.islice(sampling.iterate(dataset, address, DEADLINE), count))


@pytest.mark.parametrize("batch_size, fraction", [(32, 0.5), (20, 0.3), (16, 0.0)])
def test_batches_hold_the_stated_fraction(batch_size, fraction):
    with serving(offline=(M, 8)) as client:
        assert _fill(client) == 8
        _write(client)
        for batch in _take(client, batch_size, fraction, 20):
            batch = {name: value.numpy() for name, value in batch.items()}
            assert batch["observations"].shape == (batch_size, 3)
            assert consistent(batch)
            offline = batch["rewards"] < 0
            assert offline.sum() == round(batch_size * fraction)
            # The offline ones first.
            assert offline[: offline.sum()].all()


def test_everything_is_drawn_and_nothing_else():
    with serving(offline=(M, 8)) as client:
        _fill(client, range(32))
        _write(client)
        drawn = np.concatenate(
            [b["rewards"].numpy() for b in _take(client, 64, 0.5, 60)]
        )
        assert set(drawn[drawn < 0]) == {-1.0 - i for i in range(32)}
        assert set(drawn[drawn >= 0]) == {
            float(100 * n + i) for n in range(10) for i in range(8)
        }


def test_a_rest_that_fills_no_item_is_left_out():
    with serving(offline=(M, 8)) as client:
        assert _fill(client, range(30)) == 3


@pytest.mark.parametrize("empty", ["online", "offline"])
def test_a_starved_table_is_an_error_that_tells_the_tables(empty):
    with serving(offline=(M, 8)) as client:
        if empty == "online":
            _fill(client)
        else:
            _write(client)
        with pytest.raises(ReplayTimeout, match=f"{empty}: 0 of .* at least 1 to") as e:
            _take(client, 16, 0.5, 1)
        assert re.search(r"nothing for 2 s; server localhost:\d+: ", str(e.value))


def test_what_cannot_be_sampled_is_refused():
    with serving() as client:
        with pytest.raises(UserError, match="table 'offline' of .*Found: fresh"):
            _take(client, 16, 0.5, 1)
        with pytest.raises(UserError, match="of a batch of 10 is 2.5 transitions"):
            _take(client, 10, 0.25, 1)
        assert SIZES.num_seeds == 2
