import dataclasses

import pytest

from idql_tf import config
from idql_tf.errors import UserError
from idql_tf.online.settings import Settings


def _settings(*files, **changes):
    config.load(files)
    return dataclasses.replace(Settings(), **changes)


@pytest.mark.parametrize(
    "mode, exploration, behavior", [("max", "argmax", 0), ("imp", "implicit", 2)]
)
def test_updates_of_table_3(mode, exploration, behavior):
    """One critic update per environment step after 5,000; two or no behaviour ones."""
    settings = _settings(f"gin/finetune/{mode}.gin")
    assert settings.exploration == exploration and settings.num_candidates == 64
    assert settings.offline_fraction == 0.5
    for step, due in ((0, 0), (5_000, 0), (5_001, 1), (6_000, 1_000)):
        assert settings.due(step) == (due, behavior * due)


def test_any_ratio_of_updates_to_data():
    settings = _settings(warm_start_steps=10, critic_updates_per_step=0.3)
    due = [settings.due(step)[0] for step in range(10, 31, 2)]
    assert due == [int(0.3 * (step - 10) + 1e-9) for step in range(10, 31, 2)]
    assert due[-1] == 6
    assert _settings(critic_updates_per_step=20).due(5_003)[0] == 60


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_environments": 0}, "num_environments is 0"),
        ({"num_environments": 3}, "log_every is 1000; expected a multiple of"),
        ({"critic_updates_per_step": -1}, "critic_updates_per_step is -1"),
        ({"deadline_seconds": "a"}, "deadline_seconds is 'a'"),
        ({"offline_fraction": 2.0}, "offline_fraction is 2.0"),
        ({"exploration": "best"}, "extraction is 'best'"),
        ({"capacity": 1.5}, "capacity is 1.5"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        _settings(**change)
