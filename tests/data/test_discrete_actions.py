"""Discrete actions of every source: one-hot in memory, numbers in the environment."""

import gymnasium
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from idql_tf import data
from idql_tf.data import DatasetInfo, inspection
from idql_tf.errors import UserError

TAKEN = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 1])


@pytest.fixture
def cart(arrays):
    """CartPole's sizes in flat arrays; the last row's action is the file's 12th."""
    return arrays | {
        "observations": np.tile(arrays["observations"], 2),
        "actions": TAKEN,
    }


@pytest.mark.parametrize("kind", ["npz", "d4rl"])
@pytest.mark.parametrize("shape, dtype", [((12,), "int64"), ((12, 1), "float32")])
def test_flat_files_are_one_hot_where_the_environment_is_discrete(
    save, cart, kind, shape, dtype
):
    cart["actions"] = TAKEN.reshape(shape).astype(dtype)
    found = data.load(save(kind, cart), env_id="CartPole-v1")
    kept = found.observations[:, 0].astype(int)
    np.testing.assert_array_equal(found.actions, np.eye(2)[TAKEN[kept]])
    assert found.actions.dtype == np.float32
    assert found.info.action_size == 2 and found.info.discrete_actions
    taken = found.info.to_env_action(found.actions)
    assert taken.dtype == np.int64
    np.testing.assert_array_equal(taken, TAKEN[kept])
    assert DatasetInfo.from_json(found.info.to_json()) == found.info


def test_integers_without_an_environment_are_not_guessed(save, cart):
    with pytest.raises(UserError, match="one integer per step.*--env_id"):
        data.load(save("npz", cart))


@pytest.mark.parametrize(
    "value, message",
    [
        (2, "actions hold 2 at row 5; expected one integer from 0 to 1"),
        (-1, "actions hold -1 at row 5"),
        (0.5, "actions hold 0.5 at row 5"),
        (np.nan, "actions hold nan at row 5"),
    ],
)
def test_what_is_no_action_is_refused_with_its_row(save, cart, value, message):
    cart["actions"] = TAKEN.astype(np.float64)
    cart["actions"][5] = value
    with pytest.raises(UserError, match=message):
        data.load(save("npz", cart), env_id="CartPole-v1")
    report = inspection.inspect(
        data.load(save("npz", cart), env_id="CartPole-v1", validate=False)
    )
    assert len(report["problems"]) == 1


@pytest.mark.parametrize("env_id, found", [("CartPole-v1", "0 to 1, .* have 2;")])
def test_one_hot_files_are_refused(save, cart, env_id, found):
    cart["actions"] = np.eye(2)[TAKEN]
    with pytest.raises(UserError, match=found):
        data.load(save("npz", cart), env_id=env_id)


@pytest.fixture
def numbered(tmp_path, monkeypatch):
    """Writes a Minari dataset of two episodes with the given space and actions."""
    import minari

    def write(space, *episodes):
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
        buffers = [
            EpisodeBuffer(
                id=i,
                observations=np.ones((len(actions) + 1, 4), np.float32),
                actions=np.array(actions),
                rewards=np.ones(len(actions)),
                terminations=np.arange(len(actions)) == len(actions) - 1,
                truncations=np.zeros(len(actions), bool),
            )
            for i, actions in enumerate(episodes)
        ]
        minari.create_dataset_from_buffers(
            "tiny/numbered-v0",
            buffers,
            observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (4,)),
            action_space=space,
        )
        return "minari:tiny/numbered-v0"

    return write


@pytest.mark.filterwarnings("ignore")
def test_minari_records_where_the_numbers_start(numbered):
    name = numbered(gymnasium.spaces.Discrete(3, start=-1), [1, -1], [1, 1, -1])
    found = data.load(name)
    np.testing.assert_array_equal(found.actions, np.eye(3)[[2, 0, 2, 2, 0]])
    np.testing.assert_array_equal(
        found.info.to_env_action(found.actions), [1, -1, 1, 1, -1]
    )
    report = inspection.inspect(found)
    assert report["actions"] == {"low": [-1.0], "high": [1.0], "counts": [2, 0, 3]}
    text = inspection.format_report(report)
    assert "one of 3 (-1: 2, 0: 0, 1: 3)" in text and "never taken: 0" in text
    with pytest.raises(UserError, match="from 0 to 1, .* from -1 to 1; expected"):
        data.load(name, env_id="CartPole-v1")


@pytest.mark.filterwarnings("ignore")
def test_one_action_is_no_choice(numbered):
    with pytest.raises(UserError, match="has 1 actions; expected 2 to"):
        data.load(numbered(gymnasium.spaces.Discrete(1), [0, 0]))
