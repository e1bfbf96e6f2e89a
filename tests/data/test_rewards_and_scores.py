import numpy as np
import pytest

from idql_tf import data
from idql_tf.data import rewards, scores
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
        ("PointMaze_UMaze-v3", 23.85, 161.86),
        ("PointMaze_Medium-v3", 13.13, 277.39),
        ("PointMaze_Large-v3", 6.7, 273.99),
        ("AntMaze_Large_Diverse_GR-v5", 0.0, 1.0),
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


@pytest.mark.parametrize(
    "env_id", [None, "Pendulum-v1", "PointMaze_UMazeDense-v3", "AntMaze_UMazeDense-v5"]
)
def test_no_reference_is_invented(env_id):
    assert scores.reference_for(env_id) is None


def test_the_datasets_own_reference_wins():
    metadata = {"ref_min_score": 1.0, "ref_max_score": 3.0}
    reference = scores.reference_for("Hopper-v4", metadata)
    assert reference == scores.ScoreReference(1.0, 3.0, "from the dataset's metadata")
    assert scores.reference_for("Hopper-v4", {"ref_min_score": 1.0}).minimum < 0


def test_normalize():
    reference = scores.ScoreReference(-10.0, 30.0, "here")
    np.testing.assert_allclose(
        scores.normalize(np.array([-10.0, 10.0, 30.0, 50.0]), reference),
        [0, 50, 100, 150],
    )
