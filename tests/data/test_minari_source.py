import json
import shutil

import gin
import gymnasium
import h5py
import numpy as np
import pytest

from idql_tf import data
from idql_tf.errors import UserError

ENDS = ("terminated", "truncated", None)


def test_observations_align_with_actions(write_minari):
    dataset, _ = write_minari(ENDS, (3, 4, 2))
    transitions = data.load(dataset)

    assert len(transitions) == 9
    np.testing.assert_array_equal(
        transitions.observations[:, 0], [0, 1, 2, 100, 101, 102, 103, 200, 201]
    )
    np.testing.assert_array_equal(
        transitions.next_observations[:, 0], [1, 2, 3, 101, 102, 103, 104, 201, 202]
    )
    np.testing.assert_array_equal(transitions.rewards, [0, 1, 2, 0, 1, 2, 3, 0, 1])
    assert transitions.rows.shape == (12, 2)  # each observation once


def test_only_terminations_stop_the_bootstrap(write_minari):
    dataset, _ = write_minari(ENDS, (3, 4, 2))
    transitions = data.load(dataset)

    np.testing.assert_array_equal(transitions.masks, [1, 1, 0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(np.flatnonzero(transitions.dones), [2, 6, 8])
    np.testing.assert_array_equal(transitions.episode_lengths(), [3, 4, 2])
    np.testing.assert_array_equal(transitions.episode_returns(), [3, 6, 1])
    assert transitions.episode_slices()[1] == slice(3, 7)


def test_dtypes_and_alignment(write_minari):
    dataset, _ = write_minari(ENDS, (3, 4, 2))
    transitions = data.load(dataset)

    for name in ("rows", "actions", "rewards", "masks"):
        assert getattr(transitions, name).dtype == np.float32
    assert transitions.index.dtype == np.int32
    assert transitions.dones.dtype == bool
    assert transitions.rows.ctypes.data % 64 == 0
    assert transitions.rows.flags.writeable and transitions.rows.flags.c_contiguous


def test_actions_are_mapped_by_the_recorded_space(write_minari):
    dataset, _ = write_minari(ENDS, (3, 4, 2))
    transitions = data.load(dataset)
    np.testing.assert_allclose(
        transitions.actions[:3, 0], [0.005, 0.01, 0.015], atol=1e-6
    )
    assert transitions.info.action_high == (2.0, 2.0)


def test_goal_dicts_are_flattened_in_the_recorded_order(write_minari):
    dataset, _ = write_minari(("terminated",), (3,), goal=True)

    first = data.load(dataset)
    assert first.info.observation_keys == (
        "achieved_goal",
        "observation",
        "desired_goal",
    )
    np.testing.assert_array_equal(first.rows[1], [1.25, -0.75, 1.0, -1.0, 1.75, -0.25])
    chosen = data.load(dataset, observation_keys=["desired_goal", "observation"])
    np.testing.assert_array_equal(chosen.rows[1], [1.75, -0.25, 1.0, -1.0])
    assert chosen.info.sha256 != first.info.sha256


def test_gin_binds_the_observation_keys(write_minari):
    dataset, _ = write_minari(("terminated",), (3,), goal=True)
    with gin.unlock_config():
        gin.bind_parameter("load_dataset.observation_keys", ("observation",))
    try:
        assert data.load(dataset).info.observation_keys == ("observation",)
    finally:
        gin.clear_config()


def test_unknown_observation_key(write_minari):
    dataset, _ = write_minari(("terminated",), (3,), goal=True)
    with pytest.raises(UserError, match=r"'goal'.*achieved_goal, desired_goal"):
        data.load(dataset, observation_keys=["goal"])


def test_environment_and_reference_come_from_the_metadata(write_minari):
    dataset, _ = write_minari(
        ENDS, (3, 4, 2), env_id="Pendulum-v1", ref_min_score=-5.0, ref_max_score=5.0
    )
    info = data.load(dataset).info
    assert json.loads(info.env_spec)["id"] == "Pendulum-v1"
    assert gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(info.env_spec))
    assert (info.reference.minimum, info.reference.maximum) == (-5.0, 5.0)
    assert info.reference.source == "from the dataset's metadata"


def test_fields_of_old_gymnasium_specs_are_dropped(write_minari):
    dataset, path = write_minari(ENDS, (3, 4, 2), env_id="Pendulum-v1")
    file = path.with_name("metadata.json")
    metadata = json.loads(file.read_text())
    spec = json.loads(metadata["env_spec"])
    metadata["env_spec"] = json.dumps(
        {"id": spec.pop("id"), "autoreset": False, "apply_api_compatibility": False}
        | spec
    ).replace('"autoreset": false,', '"autoreset": false, ')
    file.write_text(json.dumps(metadata))
    info = data.load(dataset).info
    assert "autoreset" not in info.env_spec
    gymnasium.envs.registration.EnvSpec.from_json(info.env_spec)


def test_a_folder_can_be_named_instead_of_an_id(write_minari, monkeypatch):
    dataset, path = write_minari(ENDS, (3, 4, 2))
    by_id = data.load(dataset)
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    by_path = data.load(f"minari:{path.parents[1]}")
    assert by_path.info.sha256 == by_id.info.sha256


def edit_first_episode(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file["episode_0"])


def drop_last(episode, name):
    values = episode[name][:-1]
    del episode[name]
    episode[name] = values


def test_as_many_observations_as_actions(write_minari):
    dataset, path = write_minari(ENDS, (3, 4, 2))
    edit_first_episode(path, lambda episode: drop_last(episode, "observations"))
    with pytest.raises(
        UserError,
        match=r"episode 0 has 3 observations for 3 actions; Minari stores T \+ 1 = 4",
    ):
        data.load(dataset)


def test_flags_of_another_length(write_minari):
    dataset, path = write_minari(ENDS, (3, 4, 2))
    edit_first_episode(path, lambda episode: drop_last(episode, "truncations"))
    with pytest.raises(UserError, match="2 truncations for 3 actions"):
        data.load(dataset)


def test_episode_of_no_steps(write_minari):
    dataset, path = write_minari(ENDS, (3, 4, 2))

    def empty(episode):
        del episode["actions"]
        episode["actions"] = np.zeros((0, 2), np.float32)

    edit_first_episode(path, empty)
    with pytest.raises(UserError, match="episode 0 has 0 actions"):
        data.load(dataset)


def test_non_finite_observation_is_located(write_minari):
    dataset, path = write_minari(ENDS, (3, 4, 2))
    with h5py.File(path, "r+") as file:
        file["episode_1"]["observations"][2, 1] = np.nan
    with pytest.raises(
        UserError, match=r"observations hold nan at row 6 \(episode 1, observation 2\)"
    ):
        data.load(dataset)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gymnasium.spaces.Box(-np.inf, np.inf, (2,)), "dimension 0 by .-inf, inf."),
        (gymnasium.spaces.MultiDiscrete([3, 3]), "expected a continuous Box"),
    ],
)
def test_action_spaces_that_do_not_fit(write_minari, space, message):
    dataset, _ = write_minari(ENDS, (3, 4, 2), action_space=space)
    with pytest.raises(UserError, match=message):
        data.load(dataset)


def test_truncated_file(write_minari):
    dataset, path = write_minari(ENDS, (3, 4, 2))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match="truncated"):
        data.load(dataset)


def test_damaged_metadata(write_minari):
    dataset, path = write_minari(ENDS, (3, 4, 2))
    path.with_name("metadata.json").write_text("{")
    with pytest.raises(UserError, match="is unreadable"):
        data.load(dataset)


def test_dataset_that_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.setenv("MINARI_REMOTE", "nowhere://at-all")
    with pytest.raises(UserError) as caught:
        data.load("minari:none/such-v3")
    assert "none/such-v3" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "MINARI_DATASETS_PATH" in str(caught.value)


def test_malformed_id():
    with pytest.raises(UserError, match="neither a Minari dataset ID nor a folder"):
        data.load("minari:door human")


def test_combined_dataset_without_the_ones_it_links_to(shared_datasets, tmp_path):
    name = "d4rl-like/hopper/medium-expert-v0"
    alone = tmp_path / "medium-expert-v0"
    shutil.copytree(shared_datasets / name, alone)
    with pytest.raises(UserError, match="needs the ones it links to beside it"):
        data.load(f"minari:{alone}")
