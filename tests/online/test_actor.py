import json

import gymnasium
import numpy as np
import pytest

from idql_tf.data.rewards import RewardRule
from idql_tf.data.transitions import DatasetInfo
from idql_tf.online.actor import Actor

E, SEEDS = 3, (5, 9)
RULE = RewardRule("a test", 2.0, -1.0)


def _info(env_id="InvertedPendulum-v5", limit=50, size=4, high=3.0):
    spec = json.loads(gymnasium.spec(env_id).to_json()) | {"max_episode_steps": limit}
    bounds = (-high,), (high,)
    return DatasetInfo("a test", "", json.dumps(spec), (), size, *bounds, None, 1)


def _push(observations, step):
    """Falls over after a while, each seed its own way."""
    out = np.full([*observations.shape[:2], 1], 0.05 * np.sin(step), np.float32)
    out[1] *= -1
    return out


def _run(steps, act=_push, info=None, **options):
    actor = Actor(info or _info(), RULE, SEEDS, E, **options)
    items = [actor.step(act) for _ in range(steps)]
    actor.close()
    return items


def _finished(items):
    """(seed's place, return, length) of every episode that ended."""
    return [
        (s, item["returns"][e, s], item["lengths"][e, s])
        for item in items
        for e, s in np.argwhere(item["lengths"])
    ]


def test_items_are_the_environments_own_transitions():
    items = _run(120)
    shapes = {name: x.shape for name, x in items[0].items()}
    assert shapes == {
        "observations": (E, 2, 4),
        "actions": (E, 2, 1),
        "rewards": (E, 2),
        "masks": (E, 2),
        "next_observations": (E, 2, 4),
        "returns": (E, 2),
        "lengths": (E, 2),
    }
    assert {x.dtype.name for x in items[0].values()} == {"float32", "int32"}
    # The pendulum is upright where the step's reward is 1: by the rule, 2 * 1 - 1.
    for item in items:
        upright = np.abs(item["next_observations"][..., 1]) <= 0.2
        np.testing.assert_array_equal(item["rewards"], np.where(upright, 1.0, -1.0))
        np.testing.assert_array_equal(item["masks"], upright)
    # Every step goes on where the last one ended, unless that ended its episode.
    for before, after in zip(items, items[1:], strict=False):
        same = (before["next_observations"] == after["observations"]).all(-1)
        assert same[before["masks"] == 1].mean() > 0.9
        assert not same[before["masks"] == 0].any()
    finished = _finished(items)
    assert finished and {s for s, _, _ in finished} == {0, 1}
    assert all(length <= 50 for _, _, length in finished)
    # The raw return: a step that falls over gives 0, every other 1.
    assert all(total in (length, length - 1) for _, total, length in finished)
    assert not any(item["returns"][item["lengths"] == 0].any() for item in items)


def test_a_time_limit_is_no_end():
    still = lambda observations, _: np.zeros([2, E, 1], np.float32)  # noqa: E731
    items = _run(12, still, _info(limit=5))
    assert all((item["masks"] == 1).all() for item in items)
    assert [length for _, _, length in _finished(items)] == [5] * (2 * 2 * E)
    # Twelve steps: two episodes, and new ones begun at the sixth and eleventh.
    for t in (4, 9):
        gone = items[t]["next_observations"] != items[t + 1]["observations"]
        assert gone.any(-1).all()


def test_episodes_start_by_seed_actor_and_first_step():
    starts = lambda **options: _run(1, **options)[0]["observations"]  # noqa: E731
    first = starts()
    np.testing.assert_array_equal(first, starts())
    flat = first.reshape(-1, 4)
    assert len(np.unique(flat, axis=0)) == len(flat)
    for other in ({"number": 1}, {"first_step": 10}):
        assert (first != starts(**other)).any(-1).all()


def test_policies_see_the_number_of_the_step():
    seen = []

    def act(observations, step):
        seen.append((observations.shape, step))
        return _push(observations, step)

    _run(3, act, first_step=7)
    assert seen == [((2, E, 4), step) for step in (7, 8, 9)]


def test_actions_are_what_the_data_would_hold():
    wild = lambda observations, _: np.full([2, E, 1], 7.0, np.float32)  # noqa: E731
    items = _run(1, wild)
    np.testing.assert_array_equal(items[0]["actions"], np.float32(1 - 1e-5))
    nan = lambda observations, _: np.full([2, E, 1], np.nan)  # noqa: E731
    with pytest.raises(FloatingPointError, match="non-finite action, step 0"):
        _run(1, nan)
