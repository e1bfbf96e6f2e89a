import json
import pathlib

import h5py
import numpy as np
import pytest

from idql_tf import data
from idql_tf.data import environment_spaces
from idql_tf.environments import factory
from idql_tf.errors import UserError


def big_arrays(num_rows=20_000):
    random = np.random.default_rng(0)
    return {
        "observations": random.normal(size=(num_rows, 3)).astype(np.float32),
        "actions": random.uniform(-1, 1, (num_rows, 2)),
        "rewards": random.normal(size=num_rows),
        "terminals": np.arange(num_rows) % 100 == 99,
        "timeouts": np.zeros(num_rows, bool),
    }


@pytest.mark.parametrize("kind", ["d4rl", "npz"])
@pytest.mark.parametrize(
    ("field", "where"),
    [
        ("observations", "row 12345, column 1"),
        ("actions", "row 12345, column 1"),
        ("rewards", "row 12345"),
    ],
)
def test_nan_in_row_12345(save, kind, field, where):
    arrays = big_arrays()
    arrays[field][(12345, 1)[: arrays[field].ndim]] = np.nan
    arrays[field][15000:15003] = np.inf
    with pytest.raises(UserError, match=rf"{field} hold nan at {where} \(4 bad rows"):
        data.load(save(kind, arrays))


def test_float64_beyond_float32_is_not_finite(save):
    arrays = big_arrays()
    arrays["rewards"][5] = 1e300
    with pytest.raises(UserError, match="rewards hold inf at row 5"):
        data.load(save("npz", arrays))


def test_actions_beyond_the_bounds(save):
    arrays = big_arrays()
    arrays["actions"][777, 1] = -1.5
    with pytest.raises(
        UserError,
        match=r"actions hold -1.5 at row 777, dimension 1, beyond the lower bound -1",
    ):
        data.load(save("d4rl", arrays))


def test_actions_slightly_beyond_the_bounds_are_clipped(save):
    arrays = big_arrays()
    arrays["actions"][7] = [1.0015, -1.0015]
    actions = data.load(save("d4rl", arrays)).actions
    np.testing.assert_allclose(actions[7], [0.99999, -0.99999], atol=1e-7)
    assert np.abs(actions).max() <= np.float32(1 - 1e-5)


def test_nothing_to_learn_from(save):
    arrays = big_arrays()
    arrays["rewards"][:] = 0
    assert len(data.load(save("npz", arrays)))  # terminations remain
    arrays["terminals"][:] = False
    with pytest.raises(UserError, match="all .* rewards are 0 and nothing terminates"):
        data.load(save("npz", arrays))


def test_no_transition_is_left(save, arrays):
    arrays["timeouts"][:] = True
    with pytest.raises(UserError, match="no transition is left of 12 rows"):
        data.load(save("d4rl", arrays))


def test_problems_are_listed_instead_of_raised_on_demand(save):
    arrays = big_arrays()
    arrays["actions"][777, 1] = -1.5
    arrays["rewards"][3] = np.nan
    transitions = data.load(save("d4rl", arrays), validate=False)
    assert [problem.split()[0] for problem in transitions.problems] == [
        "rewards",
        "actions",
    ]
    assert not data.load(save("d4rl", big_arrays()), validate=False).problems


@pytest.mark.parametrize("dataset", ["hdf5:x", "x.hdf5", "d4rl:", ""])
def test_unknown_source_names_the_four(dataset):
    with pytest.raises(UserError) as caught:
        data.load(dataset)
    for form in ("minari:ID", "d4rl:FILE.hdf5", "ogbench:FILE.npz", "npz:FILE.npz"):
        assert form in str(caught.value)


def test_unknown_environment_lists_near_ones(save, arrays):
    with pytest.raises(UserError, match="unknown environment 'Hoper-v4'.*Hopper-v4"):
        data.load(save("d4rl", arrays), env_id="Hoper-v4")


OWN_ENVIRONMENT = """
import gymnasium
from gymnasium import spaces

class OwnEnv(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Box(-3, 3, (2,))

gymnasium.register("Own-v0", entry_point="own_package:OwnEnv", max_episode_steps=9)
gymnasium.register("OwnClass-v0", entry_point=OwnEnv)
"""


def test_environment_of_an_own_module(save, arrays, tmp_path, monkeypatch):
    (tmp_path / "own_package.py").write_text(OWN_ENVIRONMENT)
    monkeypatch.syspath_prepend(tmp_path)
    info = data.load(save("d4rl", arrays), env_id="own_package:Own-v0").info
    assert info.action_high == (3.0, 3.0)
    env = factory.make(info.env_spec)
    assert env.spec.id == "Own-v0" and env.spec.max_episode_steps == 9
    with pytest.raises(
        UserError, match=r"cannot be stored.*entry_point='module:Class'"
    ):
        data.load(save("d4rl", arrays), env_id="own_package:OwnClass-v0")
    with pytest.raises(UserError, match="'absent_package:Own-v0' names a module"):
        data.load(save("d4rl", arrays), env_id="absent_package:Own-v0")


def test_looking_a_maze_up_leaves_no_model_file(monkeypatch):
    made, make = [], factory.make
    monkeypatch.setattr(
        factory, "make", lambda spec: made.append(make(spec)) or made[-1]
    )
    found = environment_spaces.look_up("AntMaze_UMaze-v5")
    assert found.spec.max_episode_steps == 700
    (env,) = made
    assert not pathlib.Path(env.unwrapped.tmp_xml_file_path).exists()


def test_environment_of_other_sizes(save, arrays):
    with pytest.raises(UserError, match=r"'Pendulum-v1' gives 3 numbers .*have 2"):
        data.load(save("d4rl", arrays), env_id="Pendulum-v1")
    arrays["observations"] = np.zeros((12, 3))
    with pytest.raises(UserError, match=r"takes 1 action numbers.*have 2"):
        data.load(save("d4rl", arrays), env_id="Pendulum-v1")


def test_plain_observations_of_a_goal_environment_need_its_keys(save, arrays):
    arrays["observations"] = np.arange(48).reshape(12, 4)
    dataset, env_id = save("d4rl", arrays), "PointMaze_UMaze-v3"
    with pytest.raises(UserError, match=r"8 numbers \(.*observation 4.*have 4"):
        data.load(dataset, env_id=env_id)
    info = data.load(dataset, env_id=env_id, observation_keys=["observation"]).info
    assert info.observation_keys == ("observation",)
    assert json.loads(info.env_spec)["id"] == env_id
    assert info.reference is None, "the plain id draws its goals"


def test_keys_for_plain_observations_without_an_environment(save, arrays):
    with pytest.raises(UserError, match="has plain vectors"):
        data.load(save("d4rl", arrays), observation_keys=["observation"])


@pytest.mark.parametrize("keys", [3, "observation", [1], {"observation": 1}])
def test_keys_of_a_wrong_type(save, arrays, keys):
    with pytest.raises(UserError, match=r"observation_keys is .*expected a list"):
        data.load(save("d4rl", arrays), observation_keys=keys)


def test_the_recorded_reference_holds_for_its_own_environment_only(shared_datasets):
    dataset = "minari:d4rl-like/maze2d/umaze-v0"
    same = data.load(dataset, env_id="PointMaze_UMaze-v3").info
    assert same.reference.source == "from the dataset's metadata"
    other = data.load(dataset, env_id="PointMaze_Medium-v3").info
    assert other.reference is None, "the plain id draws its goals"
    assert json.loads(other.env_spec)["id"] == "PointMaze_Medium-v3"


def test_info_survives_json(write_minari):
    dataset, _ = write_minari(
        ("terminated",),
        (3,),
        goal=True,
        env_id="Pendulum-v1",
        ref_min_score=0.0,
        ref_max_score=1.0,
    )
    info = data.load(dataset).info
    assert data.DatasetInfo.from_json(json.loads(json.dumps(info.to_json()))) == info
    assert info.reference is not None and info.action_size == 2


def test_hash_follows_the_content(save):
    arrays = big_arrays()
    first = data.load(save("d4rl", arrays)).info.sha256
    assert data.load(save("npz", arrays)).info.sha256 != first  # one step more
    assert data.load(save("d4rl", arrays)).info.sha256 == first
    arrays["rewards"][100] += 1
    assert data.load(save("d4rl", arrays)).info.sha256 != first


# Transitions, episodes, terminated, mean return: the table of the datasets' notes.
REAL = [
    ("minari:d4rl-like/hopper/medium-v0", 150_158, 339, 301, 1617),
    ("minari:d4rl-like/hopper/medium-expert-v0", 200_524, 337, 246, 2175),
    ("minari:d4rl-like/hopper/medium-replay-v0", 100_351, 520, 514, 619),
    ("minari:d4rl-like/halfcheetah/medium-expert-v0", 200_000, 200, 0, 7948),
    ("minari:d4rl-like/maze2d/umaze-v0", 125_100, 417, 0, 17),
    ("minari:d4rl-like/maze2d/medium-v0", 125_400, 209, 0, 12),
    ("minari:d4rl-like/antmaze/umaze-v0", 100_106, 282, 241, 0.85),
    ("minari:d4rl-real/door/human-v0", 6_704, 25, 0, 784),
    ("d4rl:{}/d4rl_format/hopper-medium-20k.hdf5", 19_993, 45, 38, 1619),
    ("d4rl:{}/d4rl_format/door-human.hdf5", 6_704, 25, 0, 784),
]


@pytest.mark.parametrize(
    ("dataset", "transitions", "episodes", "terminated", "mean_return"), REAL
)
def test_real_datasets(
    shared_datasets, dataset, transitions, episodes, terminated, mean_return
):
    loaded = data.load(dataset.format(shared_datasets))
    assert len(loaded) == transitions
    assert loaded.info.num_episodes == episodes
    assert int((loaded.masks == 0).sum()) == terminated
    assert loaded.episode_returns().mean() == pytest.approx(mean_return, abs=0.6)
    assert (loaded.info.env_spec is None) == dataset.startswith("d4rl:")
    assert (loaded.info.reference is None) == dataset.startswith("d4rl:")


def test_d4rl_layout_and_minari_hold_the_same_demonstrations(shared_datasets):
    minari = data.load("minari:d4rl-real/door/human-v0")
    flat = data.load(f"d4rl:{shared_datasets / 'd4rl_format' / 'door-human.hdf5'}")
    np.testing.assert_allclose(minari.observations, flat.observations, atol=1e-6)
    np.testing.assert_allclose(
        minari.next_observations, flat.next_observations, atol=1e-6
    )
    np.testing.assert_allclose(minari.actions, flat.actions, atol=1e-5)
    np.testing.assert_array_equal(minari.dones, flat.dones)


def test_next_rows_equal_the_files_next_observations(shared_datasets):
    path = shared_datasets / "d4rl_format" / "hopper-medium-20k.hdf5"
    transitions = data.load(f"d4rl:{path}")
    with h5py.File(path) as file:
        stored = file["next_observations"][()][transitions.index]
    alive = transitions.masks == 1
    np.testing.assert_array_equal(transitions.next_observations[alive], stored[alive])
