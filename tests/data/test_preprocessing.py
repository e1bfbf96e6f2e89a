import numpy as np
import pytest

from idql_tf.data import preprocessing
from idql_tf.errors import UserError

LOW, HIGH = (-2.0, 0.0), (2.0, 10.0)


def test_actions_round_trip():
    actions = np.array([[-1.0, 2.5], [0.0, 5.0], [1.5, 9.0]], np.float32)
    unit = preprocessing.to_unit_action(actions, LOW, HIGH)
    np.testing.assert_allclose(unit, [[-0.5, -0.5], [0.0, 0.0], [0.75, 0.8]], atol=1e-6)
    back = preprocessing.to_env_action(unit, LOW, HIGH)
    np.testing.assert_allclose(back, actions, atol=1e-5)
    assert unit.dtype == back.dtype == np.float32


def test_actions_at_and_beyond_bounds_are_clipped():
    unit = preprocessing.to_unit_action([[-2.0, 10.0], [-9.0, 99.0]], LOW, HIGH)
    np.testing.assert_allclose(unit, [[-0.99999, 0.99999]] * 2, atol=1e-7)
    assert np.abs(unit).max() < 1
    env = preprocessing.to_env_action([[-3.0, 3.0]], LOW, HIGH)
    np.testing.assert_array_equal(env, [[-2.0, 10.0]])


def test_flatten_single_and_batched():
    single = {"b": np.array([3.0, 4.0]), "a": np.array([1.0])}
    np.testing.assert_array_equal(
        preprocessing.flatten_observation(single, ("b", "a")), [3, 4, 1]
    )
    batch = {key: np.stack([value, value + 10]) for key, value in single.items()}
    flat = preprocessing.flatten_observation(batch, ("a", "b"))
    np.testing.assert_array_equal(flat, [[1, 3, 4], [11, 13, 14]])
    assert flat.dtype == np.float32


def test_flatten_plain_arrays_only_casts():
    flat = preprocessing.flatten_observation(np.arange(6.0).reshape(2, 3), ())
    assert flat.shape == (2, 3) and flat.dtype == np.float32


def test_flatten_refuses_arrays_where_keys_were_recorded():
    with pytest.raises(UserError, match="expected a dict with observation"):
        preprocessing.flatten_observation(np.zeros(3), ("observation",))


def test_default_key_orders():
    goal = ["desired_goal", "observation", "achieved_goal"]
    assert preprocessing.key_order(goal) == (
        "achieved_goal",
        "observation",
        "desired_goal",
    )
    assert preprocessing.key_order(["z", "a", "m"]) == ("a", "m", "z")


@pytest.mark.parametrize("wanted", [["x"], [], ["a", "a"]])
def test_bad_keys(wanted):
    with pytest.raises(UserError, match="expected different keys out of a, b"):
        preprocessing.key_order(["b", "a"], wanted)
