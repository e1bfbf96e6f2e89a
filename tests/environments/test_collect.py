import json
import pathlib
import resource
import subprocess
import sys

import h5py
import numpy as np
import pytest

from idql_tf.data import scores
from idql_tf.environments import collect, factory, maze, minari_writer
from idql_tf.errors import UserError

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def _metadata(path):
    return json.loads((path / "data" / "metadata.json").read_text())


def _arrays(path):
    arrays = {}
    with h5py.File(path / "data" / "main_data.hdf5") as file:
        file.visititems(
            lambda name, item: (
                arrays.update({name: item[()]})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return arrays


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "maze2d" / "umaze-v0"
    return collect.collect("PointMaze_UMaze-v3", 30_000, path)


@pytest.mark.parametrize(
    "name", ["UMaze", pytest.param("Medium", marks=pytest.mark.slow)]
)
def test_looks_like_the_real_thing(name, shared_datasets, tmp_path):
    ours = tmp_path / f"{name}-v0"
    returns = collect.collect(f"PointMaze_{name}-v3", 60_000, ours).returns
    theirs = shared_datasets / "d4rl-like" / "maze2d" / f"{name.lower()}-v0"
    same = ("env_spec", "eval_env_spec", "observation_space", "action_space")
    same += ("ref_min_score", "ref_max_score", "data_format")
    for key in same:
        assert _metadata(ours)[key] == _metadata(theirs)[key]
    found, expected = _arrays(ours), _arrays(theirs)
    for key in (key for key in expected if key.startswith("episode_0/")):
        assert found[key].shape == expected[key].shape, key
        assert found[key].dtype == expected[key].dtype, key

    def stacked(arrays, suffix):
        return np.array([v for k, v in arrays.items() if k.endswith(suffix)])

    real = stacked(expected, "rewards").sum(axis=1)
    # Ours rests at its targets, a third of them at walls, and theirs does not: fewer
    # episodes pass the goal, calmer actions. Measured at most, with seeds 0 and 1:
    # 3.1, 3.5, 0.09; actions 0.07, observations 0.28.
    assert abs(returns.mean() - real.mean()) < 5
    assert abs(returns.std() - real.std()) < 6
    assert abs((returns == 0).mean() - (real == 0).mean()) < 0.12
    for suffix, tolerance in (("actions", 0.1), ("/observation", 0.35)):
        spread = [stacked(a, suffix).std(axis=(0, 1)) for a in (found, expected)]
        np.testing.assert_allclose(*spread, atol=tolerance)


def test_episodes_are_aligned_and_end_by_time_out(collected):
    arrays = _arrays(collected.path)
    assert collected.num_steps == 30_000 and len(collected.returns) == 100
    first = {k.removeprefix("episode_0/"): v for k, v in arrays.items()}
    assert first["observations/observation"].shape == (301, 4)
    assert first["actions"].shape == (300, 2)
    assert np.abs(first["actions"]).max() <= 1
    assert first["truncations"][-1] and first["truncations"].sum() == 1
    assert not first["terminations"].any()
    # The reward is paid for where the step leads, at the episode's own goal.
    for name in (f"episode_{number}" for number in range(100)):
        seen = arrays[f"{name}/observations/achieved_goal"]
        goal = arrays[f"{name}/observations/desired_goal"]
        assert np.ptp(goal, axis=0).max() == 0
        near = np.linalg.norm(seen[1:] - goal[1:], axis=-1)
        clear = np.abs(near - 0.45) > 1e-4
        rewards = arrays[f"{name}/rewards"]
        np.testing.assert_array_equal(rewards[clear], (near <= 0.45)[clear])


def test_recorded_actions_replay_in_the_recorded_environment(collected):
    arrays = _arrays(collected.path)
    env = factory.make(_metadata(collected.path)["env_spec"])
    with h5py.File(collected.path / "data" / "main_data.hdf5") as file:
        seed = int(file["episode_7"].attrs["seed"])
    env.reset(seed=seed)
    seen = [env.step(action)[0] for action in arrays["episode_7/actions"]]
    np.testing.assert_array_equal(
        arrays["episode_7/observations/observation"][1:],
        np.array([step["observation"] for step in seen], np.float32),
    )


def test_minari_loads_it(collected, monkeypatch):
    import minari

    root = collected.path.parents[1]
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    assert collected.dataset_id == "maze2d/umaze-v0"
    dataset = minari.load_dataset(collected.dataset_id)
    assert (dataset.total_episodes, dataset.total_steps) == (100, 30_000)
    assert dataset.spec.env_spec.max_episode_steps == 300
    assert f"MINARI_DATASETS_PATH={root} " in collected.describe()
    assert f"--dataset minari:{collected.path}" in collected.describe()


def test_seed_decides_every_array(collected, tmp_path):
    again = collect.collect("PointMaze_UMaze-v3", 900, tmp_path / "again-v0")
    other = collect.collect("PointMaze_UMaze-v3", 900, tmp_path / "other-v0", seed=1)
    full, first, second = map(_arrays, (collected.path, again.path, other.path))
    for key, values in first.items():
        np.testing.assert_array_equal(values, full[key])
    assert (first["episode_0/actions"] != second["episode_0/actions"]).any()


@pytest.mark.parametrize(
    ("name", "low", "high"), [("UMaze", 130, 165), ("Medium", 150, 180)]
)
def test_straight_to_the_goal_scores_high(name, low, high):
    env_id = f"PointMaze_{name}-v3"
    spec, field = collect._task(env_id, None)
    env = factory.make(spec.to_json())
    returns = [
        collect.run_episode(env, field, np.random.default_rng(i), wander=False).rewards
        for i in range(40)
    ]
    reference = scores.reference_for(env_id, spec.kwargs)
    score = scores.normalize(np.mean([r.sum() for r in returns]), reference)
    assert low < score < high


def test_references_are_measured_where_d4rl_has_none(tmp_path):
    found = collect.collect("PointMaze_Open-v3", 1, tmp_path / "open-v0")
    assert found.num_steps == 300, "whole episodes"
    assert found.reference.source.startswith("measured")
    assert found.reference.minimum < 60 < 180 < found.reference.maximum < 300
    field = maze.from_environment(factory.make(_metadata(found.path)["env_spec"]))
    assert field.goal_cells == [(3, 5)]


def test_goal_cell_can_be_chosen(tmp_path):
    path = tmp_path / "other_goal-v0"
    found = collect.collect("PointMaze_UMaze-v3", 300, path, goal_cell=(3, 3))
    field = maze.from_environment(factory.make(_metadata(found.path)["env_spec"]))
    assert field.goal_cells == [(3, 3)]
    with pytest.raises(UserError, match=r"\(0, 0\).*not a free cell"):
        collect.collect("PointMaze_UMaze-v3", 300, tmp_path / "x", goal_cell=(0, 0))


@pytest.mark.parametrize("name", ["plain", "with blank", "v1"])
def test_any_directory_name_loads_by_path(name, tmp_path):
    import minari

    found = collect.collect("PointMaze_UMaze-v3", 300, tmp_path / name)
    assert minari.MinariDataset(found.path / "data").total_steps == 300


def test_a_relative_directory_is_kept_relative_in_the_advice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = collect.collect("PointMaze_UMaze-v3", 300, "runs/maze2d/mini-v0")
    assert "--dataset minari:runs/maze2d/mini-v0\n" in found.describe()
    assert _metadata(tmp_path / "runs/maze2d/mini-v0")["dataset_id"] == "maze2d/mini-v0"


def test_refusals_write_nothing(tmp_path):
    for env_id in ("Hopper-v4", "AntMaze_UMaze-v5", "PointMaze_UMazeDense-v3"):
        with pytest.raises(UserError, match="PointMaze_UMaze-v3"):
            collect.collect(env_id, 300, tmp_path / "x")
    with pytest.raises(UserError, match="did you mean"):
        collect.collect("PointMaze_Umaze-v3", 300, tmp_path / "x")
    with pytest.raises(UserError, match="num_steps is 0"):
        collect.collect("PointMaze_UMaze-v3", 0, tmp_path / "x")
    for goal_cell in (3, "ab", (1,), (1.5, 1), (1, 1, 1)):
        with pytest.raises(UserError, match="collect.goal_cell .* not a free cell"):
            collect.collect("PointMaze_UMaze-v3", 9, tmp_path / "x", 0, 0.3, goal_cell)
    for noise in ("a", -0.1, float("nan"), float("inf"), None, True):
        with pytest.raises(UserError, match="collect.noise is .* expected a number"):
            collect.collect("PointMaze_UMaze-v3", 9, tmp_path / "x", 0, noise)
    assert not list(tmp_path.iterdir())
    kept = tmp_path / "kept" / "file"
    kept.parent.mkdir()
    kept.write_text("precious")
    with pytest.raises(UserError, match="exists"):
        collect.collect("PointMaze_UMaze-v3", 300, kept.parent)
    with pytest.raises(UserError, match="cannot be made"):
        collect.collect("PointMaze_UMaze-v3", 300, kept / "below")
    assert kept.read_text() == "precious"
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "file"]


def test_a_failure_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(collect.minari_writer, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        collect.collect("PointMaze_UMaze-v3", 300, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_launch_script(tmp_path):
    def launch(*flags):
        command = [sys.executable, REPOSITORY / "launch" / "collect.py", *flags]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    flags = ("--num_steps=300", "--output=data/maze2d/mini-v0")
    done = launch("--env_id=PointMaze_UMaze-v3", *flags)
    assert done.returncode == 0, done.stderr
    assert "--dataset minari:data/maze2d/mini-v0" in done.stdout
    done = launch("--env_id=PointMaze_UMaze-v3", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("error: data/maze2d/mini-v0 exists")
    assert len(done.stderr.splitlines()) == 1


def test_without_room_hdf5_is_not_even_tried(tmp_path):
    """It would crash the program when it closes the file."""
    command = [sys.executable, REPOSITORY / "launch" / "collect.py"]
    command += ["--env_id=CartPole-v1", "--num_steps=300", f"--output={tmp_path}/x"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000,) * 2),
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "File too large" in done.stderr and not [*tmp_path.iterdir()]


def test_the_room_tried_is_enough(collected):
    file = collected.path / "data" / "main_data.hdf5"
    with h5py.File(file) as tree:
        groups = [tree[f"episode_{k}"] for k in range(len(tree))]
        episodes = [
            minari_writer.Episode(
                0,
                {key: part[()] for key, part in group["observations"].items()},
                *(group[name][()] for name in ("actions", "rewards")),
                *(group[name][()] for name in ("terminations", "truncations")),
            )
            for group in groups
        ]
    size, most = file.stat().st_size, minari_writer.most_bytes(episodes)
    assert most / 2 < size <= most, (size, most)
