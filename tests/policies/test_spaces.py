import numpy as np
import pytest
import tensorflow as tf
from tf_agents.specs import tensor_spec

from idql_tf.data import preprocessing
from idql_tf.errors import UserError
from idql_tf.policies.spaces import Spaces

F32 = tf.float32
# At +1 the plain formula ends one unit in the last place above each of these.
LOW, HIGH = np.float32([-1.22, -0.3, -0.16]), np.float32([0.1, 1.38, 0.84])
PARTS = {"desired_goal": 2, "achieved_goal": 2, "observation": 4}
GOAL = {key: tf.TensorSpec([size], F32) for key, size in PARTS.items()}
OTHER = {"b": GOAL["desired_goal"], "a": GOAL["observation"]}


def _bounded(shape=(3,), low=LOW, high=HIGH, dtype=F32):
    return tensor_spec.BoundedTensorSpec(shape, dtype, low, high)


def _spaces(observation_spec=GOAL["observation"], **options):
    return Spaces(observation_spec, _bounded(), **options)


def _observation(spec, dtype=np.float64, batch=7):
    rng = np.random.default_rng(0)
    return {
        key: rng.normal(size=(batch, *part.shape)).astype(dtype)
        for key, part in spec.items()
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("spec", "wanted", "order"),
    [
        (GOAL, None, ("achieved_goal", "observation", "desired_goal")),
        (GOAL, ["observation", "desired_goal"], ("observation", "desired_goal")),
        (OTHER, None, ("a", "b")),
        (OTHER, ("b", "a"), ("b", "a")),
    ],
)
def test_dict_observations_are_flattened_as_the_data_are(spec, wanted, order, dtype):
    spaces, observation = Spaces(spec, _bounded(), wanted), _observation(spec, dtype)
    found = spaces.flatten(observation)
    assert found.dtype == F32
    np.testing.assert_array_equal(
        found, np.concatenate([np.float32(observation[key]) for key in order], -1)
    )
    assert spaces.observation_keys == order
    keys = preprocessing.key_order([*spec], wanted)
    np.testing.assert_array_equal(
        found, preprocessing.flatten_observation(observation, keys)
    )
    assert spaces.observation_size == found.shape[1]


def test_plain_observations_become_float32_vectors():
    spaces = _spaces()
    given = np.random.default_rng(0).normal(size=(7, 4))
    found = spaces.flatten(given)
    assert found.dtype == F32 and spaces.observation_keys == ()
    np.testing.assert_array_equal(found, np.float32(given))
    image = _spaces(tf.TensorSpec([2, 3], tf.uint8))
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert image.observation_size == 6
    np.testing.assert_array_equal(image.flatten(pixels), pixels.reshape(2, 6))
    number = _spaces(tf.TensorSpec([], F32))
    np.testing.assert_array_equal(number.flatten([3.0, 4.0]), [[3.0], [4.0]])


@pytest.mark.parametrize("batch", [0, 1, 7])
def test_flatten_keeps_any_batch_and_its_static_size(batch):
    spaces = _spaces(GOAL)
    specs = {k: tf.TensorSpec([None, n], F32) for k, n in PARTS.items()}
    flatten = tf.function(spaces.flatten, input_signature=[specs])
    found = flatten(_observation(GOAL, np.float32, batch))
    assert found.shape == (batch, 8)
    shape = flatten.get_concrete_function().structured_outputs.shape
    assert shape.as_list() == [None, 8]


def test_observations_of_another_size_are_refused():
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="4"):
        _spaces().flatten(tf.zeros([7, 5]))


def test_actions_are_mapped_as_the_data_are():
    rng = np.random.default_rng(0)
    spaces = _spaces()
    assert (spaces.action_size, spaces.low.dtype) == (3, np.float32)
    unit = rng.uniform(-1, 1, (5, 1_000, 3)).astype(np.float32)
    found = spaces.to_env_action(unit)
    expected = preprocessing.to_env_action(unit, LOW, HIGH)
    np.testing.assert_allclose(found, expected, atol=2e-7, rtol=0)
    # The middle and both ends of every dimension, by hand.
    ends = spaces.to_env_action(np.float32([[0, 0, 0], [-1, 1, 0], [1, -1, 0.5]]))
    by_hand = [[-0.56, 0.54, 0.34], [-1.22, 1.38, 0.34], [0.1, -0.3, 0.59]]
    np.testing.assert_allclose(ends, by_hand, atol=2e-7)

    actions = rng.uniform(LOW - 0.2, HIGH + 0.2, (1_000, 3)).astype(np.float32)
    found = spaces.to_unit_action(actions)
    expected = preprocessing.to_unit_action(actions, LOW, HIGH)
    np.testing.assert_allclose(found, expected, atol=2e-7, rtol=0)
    limit = np.float32(1 - 1e-5)
    assert np.max(found) == limit and np.min(found) == -limit
    inside = rng.uniform(LOW + 1e-3, HIGH - 1e-3, (1_000, 3)).astype(np.float32)
    back = spaces.to_env_action(spaces.to_unit_action(inside))
    np.testing.assert_allclose(back, inside, atol=1e-6)


def test_a_million_actions_are_within_the_bounds():
    """To the last bit: gymnasium's `Box.contains` allows nothing beyond."""
    plain = LOW + np.float32(2) * np.float32(0.5) * (HIGH - LOW)
    assert (plain > HIGH).all(), "these bounds would show nothing"
    rng = np.random.default_rng(1)
    unit = rng.uniform(-1.0, 1.0, (333_334, 3)).astype(np.float32)
    unit[:1_000], unit[1_000:2_000] = 1.0, -1.0
    unit[2_000:9_000] = rng.uniform(0.999_999, 1.0, (7_000, 3))
    for to_env_action in (
        _spaces().to_env_action,
        tf.function(_spaces().to_env_action),
    ):
        found = to_env_action(unit).numpy()
        assert found.dtype == np.float32
        assert (found >= LOW).all() and (found <= HIGH).all()
        np.testing.assert_array_equal(found[0], HIGH)
        np.testing.assert_array_equal(found[1_000], LOW)


def test_bounds_may_be_numbers_for_all_dimensions():
    spaces = Spaces(GOAL["observation"], _bounded((2,), -0.5, 2.0))
    found = spaces.to_env_action(np.float32([[-1.0, 1.0], [0.0, 0.5]]))
    np.testing.assert_allclose(found, [[-0.5, 2.0], [0.75, 1.375]])


HUGE = np.finfo(np.float32).max


@pytest.mark.parametrize(
    ("observation_spec", "action_spec", "keys", "message"),
    [
        (None, tf.TensorSpec([3], F32), None, "spec is TensorSpec.*expected one bound"),
        (None, _bounded(dtype=tf.int32, low=0, high=4), None, "int32.*bounded float"),
        (None, _bounded((2, 3)), None, r"shape=\(2, 3\).*expected one bounded float"),
        (None, _bounded((), -1.0, 1.0), None, r"shape=\(\).*expected one bounded fl"),
        (None, {"a": _bounded()}, None, "spec is {'a'.*expected one bounded float"),
        (None, _bounded(low=-HUGE, high=HUGE), None, "3.4.*expected finite, increas"),
        (None, _bounded(low=-np.inf), None, "inf.*expected finite, increasing"),
        (None, _bounded(high=[0.1, -0.3, 1]), None, "-0.3.*expected finite, increas"),
        (GOAL, _bounded(), ["observation", "goal"], "'goal'; expected .*desired_goal"),
        (GOAL, _bounded(), ["observation"] * 2, "'observation', 'observation'.*differ"),
        (
            (GOAL["observation"],) * 2,
            _bounded(),
            None,
            "expected a TensorSpec of real",
        ),
        ({"a": GOAL}, _bounded(), None, "'a': {.*expected a TensorSpec of real"),
        ({}, _bounded(), None, "spec is {}; expected a TensorSpec of real"),
        (tf.TensorSpec([0], F32), _bounded(), None, "expected a TensorSpec of real"),
        (tf.TensorSpec([None], F32), _bounded(), None, "known, positive sizes"),
        (tf.TensorSpec([3], tf.string), _bounded(), None, "expected a TensorSpec of r"),
        (None, _bounded((0,), -1.0, 1.0), None, "expected one bounded float vector"),
        (GOAL, _bounded(), 5, "observation_keys is 5; expected a list"),
    ],
)
def test_other_specs_are_refused(observation_spec, action_spec, keys, message):
    if observation_spec is None:
        observation_spec = GOAL["observation"]
    with pytest.raises(UserError, match=message):
        Spaces(observation_spec, action_spec, keys)
