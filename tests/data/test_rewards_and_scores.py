import numpy as np
import pytest

from idql_tf import data
from idql_tf.data import rewards, scores
from idql_tf.environments import factory
from idql_tf.errors import UserError


@pytest.fixture
def transitions(save, arrays):
    return data.load(save("d4rl", arrays))


def test_locomotion_return_scale(transitions):
    # Episodes are rows 0-3, 4-6 and 8-10, rewards their row numbers.
    np.testing.assert_array_equal(transitions.episode_returns(), [6, 15, 27])
    rule = rewards.resolve("locomotion_return_scale", transitions)
    assert rule == rewards.RewardRule(
        "locomotion_return_scale", pytest.approx(1000 / 21), 0.0
    )
    scaled = rule(transitions.rewards)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, transitions.rewards * (1000 / 21), rtol=1e-6)


@pytest.mark.parametrize(("name", "offset"), [("none", 0), ("antmaze_minus_one", -1)])
def test_rules_that_keep_the_scale(transitions, name, offset):
    rule = rewards.resolve(name, transitions)
    np.testing.assert_array_equal(
        rule(transitions.rewards), transitions.rewards + offset
    )
    assert rule(1.0) == 1.0 + offset


def test_unknown_rule_lists_the_known(transitions):
    with pytest.raises(UserError, match="none, locomotion_return_scale, antmaze"):
        rewards.resolve("locomotion", transitions)


def test_equal_returns_cannot_be_scaled(save, arrays):
    arrays["rewards"] = np.zeros(12)
    with pytest.raises(UserError, match="spread of episode returns, which is 0"):
        rewards.resolve("locomotion_return_scale", data.load(save("d4rl", arrays)))


@pytest.mark.parametrize(
    ("env_id", "minimum", "maximum"),
    [
        ("Hopper-v4", -20.272305, 3234.3),
        ("Hopper-v5", -20.272305, 3234.3),
        ("HalfCheetah-v4", -280.178953, 12135.0),
        ("Walker2d-v4", 1.629008, 4592.3),
        ("AdroitHandDoor-v1", -56.512833, 2880.5693087298737),
        ("AdroitHandHammer-v1", -274.856578, 12794.134825156867),
        ("AdroitHandPen-v1", 96.262799, 3076.8331017826877),
        ("AdroitHandRelocate-v1", -6.425911, 4233.877797728884),
    ],
)
def test_d4rl_references(env_id, minimum, maximum):
    reference = scores.reference_for(env_id)
    assert (reference.minimum, reference.maximum) == (minimum, maximum)
    assert reference.source.startswith("D4RL v2 reference for ")


ONE_GOAL = {"maze_map": [[1, "g", 0], [1, 0, 0]]}
ENDS = {"continuing_task": False}


@pytest.mark.parametrize(
    ("env_id", "kwargs", "expected"),
    [
        ("PointMaze_UMaze-v3", ONE_GOAL, (23.85, 161.86)),
        ("PointMaze_Medium-v3", ONE_GOAL, (13.13, 277.39)),
        ("PointMaze_Large-v3", ONE_GOAL | {"reward_type": "sparse"}, (6.7, 273.99)),
        ("PointMaze_UMaze-v3", {"maze_map": [[1, 0, 0], [1, 0, 0]]}, None),
        ("PointMaze_UMaze-v3", {"maze_map": [[1, "g", "g"], [1, 0, 0]]}, None),
        ("PointMaze_UMaze-v3", {"maze_map": [[1, "g", "c"], [1, 0, 0]]}, None),
        ("PointMaze_UMaze-v3", ONE_GOAL | ENDS, None),
        ("PointMaze_UMaze-v3", ONE_GOAL | {"reward_type": "dense"}, None),
        ("PointMaze_UMaze-v3", {}, None),
        ("AntMaze_Large_Diverse_GR-v5", ENDS, (0.0, 1.0)),
        ("AntMaze_Large_Diverse_GR-v5", {"continuing_task": True}, None),
        ("AntMaze_UMaze-v5", {}, None),
        ("AntMaze_UMaze-v5", ENDS | {"reward_type": "dense"}, None),
        ("AntMaze_UMazeDense-v5", ENDS, None),
    ],
)
def test_the_arguments_of_a_maze_decide_whether_it_is_the_referenced_task(
    env_id, kwargs, expected
):
    reference = scores.reference_for(env_id, kwargs)
    found = None if reference is None else (reference.minimum, reference.maximum)
    assert found == expected


@pytest.mark.parametrize(
    "env_id", ["PointMaze_UMaze-v3", "PointMaze_Large-v3", "AntMaze_UMaze-v5"]
)
def test_registered_mazes_are_other_tasks(env_id):
    assert scores.reference_for(env_id, factory.parse_spec(env_id).kwargs) is None


@pytest.mark.parametrize(
    "env_id", [None, "Pendulum-v1", "PointMaze_UMazeDense-v3", "AntMaze_UMazeDense-v5"]
)
def test_no_reference_is_invented(env_id):
    assert scores.reference_for(env_id) is None


def test_the_datasets_own_reference_wins():
    metadata = {"ref_min_score": 1.0, "ref_max_score": 3.0}
    reference = scores.reference_for("Hopper-v4", metadata=metadata)
    assert reference == scores.ScoreReference(1.0, 3.0, "from the dataset's metadata")
    assert scores.reference_for("AntMaze_UMaze-v5", {}, metadata) == reference
    half = {"ref_min_score": 1.0}
    assert scores.reference_for("Hopper-v4", metadata=half).minimum < 0


def test_normalize():
    reference = scores.ScoreReference(-10.0, 30.0, "here")
    np.testing.assert_allclose(
        scores.normalize(np.array([-10.0, 10.0, 30.0, 50.0]), reference),
        [0, 50, 100, 150],
    )


@pytest.mark.parametrize("low", ["a", None, [], 10**400, float("nan"), 5.0])
def test_a_recorded_reference_that_is_none_is_ignored(low):
    metadata = {"ref_min_score": low, "ref_max_score": 1.0}
    assert scores.reference_for(metadata=metadata) is None
    for kwargs in ({"maze_map": 3}, [1]):
        assert scores.reference_for("PointMaze_UMaze-v3", kwargs, metadata) is None
