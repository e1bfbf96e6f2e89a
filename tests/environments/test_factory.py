import json
import pathlib
import subprocess
import sys
import tempfile

import gymnasium
import pytest

from idql_tf.environments import factory
from idql_tf.errors import UserError

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def _spec_json(**changes):
    fields = json.loads(gymnasium.spec("CartPole-v1").to_json())
    return json.dumps(fields | changes)


def test_makes_by_id_without_checking_wrappers():
    env = factory.make("Hopper-v4")
    assert isinstance(env, gymnasium.wrappers.TimeLimit)
    assert env.env is env.unwrapped
    assert env.spec.max_episode_steps == 1000


def test_recorded_time_limit_and_arguments_are_kept():
    env = factory.make(_spec_json(max_episode_steps=7))
    env.reset(seed=0)
    for step in range(7):
        _, _, terminated, truncated, _ = env.step(step % 2)
    assert truncated and not terminated

    factory.register()
    fields = json.loads(gymnasium.spec("PointMaze_UMaze-v3").to_json())
    fields["kwargs"]["maze_map"] = [[1, 1, 1, 1], [1, "g", 0, 1], [1, 1, 1, 1]]
    env = factory.make(json.dumps(fields))
    assert env.unwrapped.maze.maze_map[1] == [1, "g", 0, 1]


def test_environment_of_a_real_dataset(shared_datasets):
    path = shared_datasets / "d4rl-like/antmaze/umaze-v0/data/metadata.json"
    env = factory.make(json.loads(path.read_text())["env_spec"])
    observation, _ = env.reset(seed=0)
    assert observation["observation"].shape == (27,)
    assert env.spec.max_episode_steps == 700


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("Hoper-v4", "did you mean Hopper-v4"),
        ("pointmaze_umaze-v3", "PointMaze_UMaze-v3"),
        ("zzz", "unknown environment 'zzz'; expected an id"),
        ("no_such_module:Hopper-v4", "never run; name an environment"),
        ('{"id": "Hopper-v4"', "not a gymnasium EnvSpec"),
        ('{"id": 3}', "environment '3' recorded with the data is not registered"),
        (_spec_json(kwargs={"wheels": 4}), "arguments {'wheels': 4}"),
        (_spec_json(kwargs=[1]), "not a gymnasium EnvSpec (kwargs [1]"),
        (_spec_json(max_episode_steps="1"), "not a gymnasium EnvSpec (max_episode"),
        ('{"id": ' + "[" * 100_000, "not a gymnasium EnvSpec"),
        ('{"kwargs": {}}', "not a gymnasium EnvSpec"),
    ],
)
def test_bad_environments_are_answered_in_one_line(spec, expected):
    with pytest.raises(UserError) as caught:
        factory.make(spec)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_module_prefix_imports_the_module(tmp_path, monkeypatch):
    (tmp_path / "somebodys_package.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control.pendulum import PendulumEnv\n"
        "gymnasium.register('Somebodys-v0', entry_point=PendulumEnv)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="--env_id ID, or MODULE:ID"):
        factory.make("somebodys_package:Somebodys-v0")  # May be a stranger's wish.
    assert "somebodys_package" not in sys.modules
    spec = factory.parse_spec("somebodys_package:Somebodys-v0")
    assert gymnasium.make(spec).action_space.shape == (1,)


@pytest.mark.parametrize("env_id", ["Unknown-v0", "os:Unknown-v0", "CartPole-v1"])
@pytest.mark.parametrize("field", ["entry_point", "vector_entry_point", "wrapper"])
def test_a_recorded_spec_runs_no_code_of_its_own(tmp_path, env_id, field):
    canary = tmp_path / "canary"
    payload = {"command": f"touch {canary}"}
    changes = {"id": env_id, "kwargs": payload, field: "os:system"}
    if field == "wrapper":
        entry = {"name": "W", "entry_point": "os:system", "kwargs": payload}
        changes = {"id": env_id, "additional_wrappers": [entry]}
    with pytest.raises(UserError, match=f"'{env_id}'.*(--env_id|'command')"):
        factory.make(_spec_json(**changes))
    assert not canary.exists()


def test_a_registered_environment_ignores_recorded_entry_points():
    env = factory.make(
        _spec_json(entry_point="os:abort", vector_entry_point="os:abort")
    )
    assert type(env.unwrapped).__name__ == "CartPoleEnv"


def test_leaves_no_model_files_behind():
    def leftovers():
        return set(pathlib.Path(tempfile.gettempdir()).glob("ant_maze*.xml"))

    factory.make("CartPole-v1")
    before = leftovers()
    names = [factory.make("PointMaze_UMaze-v3").unwrapped.tmp_xml_file_path]
    names += [factory.make("AntMaze_UMaze-v5").unwrapped.tmp_xml_file_path]
    assert not any(pathlib.Path(name).exists() for name in names)
    assert not {str(path) for path in leftovers() - before} & set(names)


def test_is_quiet_and_needs_no_tensorflow(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from idql_tf.environments import factory\n"
        "for name in ('Hopper-v4', 'HalfCheetah-v4', 'AdroitHandDoor-v1',\n"
        "             'PointMaze_UMaze-v3', 'AntMaze_UMaze-v5'):\n"
        "    factory.make(name).reset(seed=0)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
    assert not list(tmp_path.iterdir()), "MuJoCo left a log file behind"
