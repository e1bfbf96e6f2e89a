"""launch/export.py on a trained run, and its model where only TensorFlow is."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import tiny_run
from exporting import launch, read_card, read_spec

from idql_tf import files
from idql_tf.runs.directory import versions


def test_the_script_prints_what_it_did_and_leaves_nothing_else(exported):
    tiny_run.check_quiet(exported.result)
    printed = exported.result.stdout
    assert "argmax of 64 candidates from seeds 0" in printed
    assert "checked saved_model: largest action difference" in printed
    assert f"exported: {exported.folder}" in printed
    assert [p.name for p in exported.folder.parent.iterdir()] == ["model"]
    files = {p.name for p in exported.folder.iterdir()}
    assert {"saved_model.pb", "variables", "model_card.json"} < files
    assert "policy_specs.pbtxt" in files
    assert not [name for name in files if name.endswith(".tflite")]


def test_the_card_tells_what_the_run_recorded(exported):
    card, spec = read_card(exported.folder), read_spec(exported.run_dir)
    assert card["observation"]["size"] == spec["observation_size"] == 6
    assert card["observation"]["keys"] == [
        {"name": "observation", "shape": [4]},
        {"name": "desired_goal", "shape": [2]},
    ]
    seen = card["observation"]["seen_in_training"]
    assert seen == spec["observation_statistics"]
    action = {"size": 2, "dtype": "float32", "low": [-1.0] * 2, "high": [1.0] * 2}
    assert card["action"] == action
    assert (card["extraction"], card["num_candidates"]) == ("argmax", 64)
    assert card["num_diffusion_steps"] == 5
    assert (card["seeds"], card["ensemble"]) == ([0], False)
    assert card["data"]["sha256"] == spec["dataset"]["sha256"]
    assert card["data"]["num_transitions"] == 1_500
    assert card["data"]["environment"] == spec["dataset"]["env_spec"]
    assert card["precision"] == "float32"
    assert card["non_finite_observation"] == "assertion error"
    assert card["updates"] == {"critic": 3_000, "behavior": 1_500}
    assert card["versions"] == versions()
    assert card["trained_with"] == spec["versions"]
    config = (exported.run_dir / "config.gin").read_text()
    assert card["config"] == config.splitlines()
    assert card["parity"]["saved_model"]["largest_action_difference"] <= 1e-6
    for path in exported.folder.rglob("*"):
        if path.is_file() and path.name != "model_card.json":
            assert (
                card["files"][str(path.relative_to(exported.folder))]
                == path.stat().st_size
            )


def test_the_card_holds_the_scores_of_its_own_choice(exported):
    card = read_card(exported.folder)["scores"]
    summary = json.loads((exported.run_dir / "summary.json").read_text())
    (entry,) = [
        found
        for found in summary["methods"]
        if (found["extraction"], found["num_candidates"]) == ("argmax", 64)
    ]
    assert card["measured"] == entry
    assert set(card["measured"]["score"]["per_seed"]) == {"0", "4"}
    assert card["data_score"] == summary["dataset_score"]
    assert summary["reference_note"] in card["note"]


@pytest.mark.parametrize(
    "flag, words",
    [
        ("--seed=3", ["no seed 3", "0, 4"]),
        ("--ensemble --seed=0", ["--seed", "--ensemble"]),
        ("--safe_action=0", ["safe_action", "2 numbers"]),
        ("--safe_action=0,1.5", ["safe_action", "1.5"]),
        ("--safe_action=0,zero", ["safe_action", "0,zero"]),
        ("--safe_action=0,nan", ["safe_action", "0,nan"]),
        ("--num_candidates=0", ["num_candidates"]),
        ("--extraction=best", ["extraction", "argmax"]),
        ("--tflite --extraction=implicit", ["TFLite", "argmax", "implicit"]),
        ("--gin_param=Behavior.sampler_temprature=0.5", ["temprature"]),
        ("--gin_file=nowhere.gin", ["nowhere.gin"]),
        ("--gin_param=LnResnet.hidden_dim=17", ["no checkpoint", "fits"]),
        ("--env_id=no_module:Maze-v0", ["no_module"]),
        ("--colour=red", ["colour"]),
        ("--run_dir=nowhere", ["nowhere", "is not a run"]),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(finished, tmp_path, flag, words):
    before = {p: p.stat().st_mtime_ns for p in finished[0].rglob("*")}
    result = launch(finished[0], tmp_path / "new" / "model", *flag.split())
    tiny_run.check_refused(result, *words)
    assert not [*tmp_path.iterdir()]
    assert before == {p: p.stat().st_mtime_ns for p in finished[0].rglob("*")}


def _copy(run_dir, target, *left_out, **changes):
    """Copies a run, its record of the data changed."""
    shutil.copytree(run_dir, target, ignore=shutil.ignore_patterns(*left_out))
    spec = read_spec(target)
    spec["dataset"] |= changes
    if "observation_size" in changes:
        del spec["observation_statistics"]
    (target / "spec.json").write_text(json.dumps(spec))
    return target


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"observation_size": 7}, ["no checkpoint", "fits"]),
        ({"env_spec": "Hopper-v4"}, ["environment", "desired_goal"]),
        ({"env_spec": '{"id": "Unheard-v0"}'}, ["Unheard-v0", "--env_id"]),
        ({"action_low": [-1.0]}, ["spec.json", "action_low below action_high"]),
        (None, ["no checkpoint yet"]),
    ],
)
def test_a_run_that_does_not_fit_is_refused(finished, tmp_path, changes, words):
    left_out = ["checkpoints"] if changes is None else []
    run_dir = _copy(finished[0], tmp_path / "run", *left_out, **changes or {})
    files = sorted(run_dir.rglob("*"))
    tiny_run.check_refused(launch(run_dir, tmp_path / "model"), *words)
    assert [*tmp_path.iterdir()] == [run_dir]
    assert sorted(run_dir.rglob("*")) == files


MODULE = """
import gymnasium

maze = "gymnasium_robotics.envs.maze.point_maze:PointMazeEnv"
gymnasium.register("OfMyOwn-v0", maze, max_episode_steps=300)
"""


@pytest.mark.slow
def test_env_id_names_the_module_of_a_runs_environment(finished, tmp_path, monkeypatch):
    (tmp_path / "my_mazes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    recorded = json.loads(read_spec(finished[0])["dataset"]["env_spec"])
    env_spec = json.dumps(recorded | {"id": "OfMyOwn-v0"})
    run_dir = _copy(finished[0], tmp_path / "run", env_spec=env_spec)
    output = tmp_path / "model"
    tiny_run.check_refused(launch(run_dir, output), "OfMyOwn-v0", "--env_id")
    named = launch(
        run_dir, output, "--env_id=my_mazes:OfMyOwn-v0", "--num_candidates=4"
    )
    tiny_run.check_quiet(named)
    card = read_card(output)
    assert "OfMyOwn-v0" in card["data"]["environment"]


@pytest.mark.parametrize("kind", ["model", "file", "dangling"])
def test_nothing_is_overwritten(finished, tmp_path, kind):
    output = tmp_path / "model"
    if kind == "file":
        output.write_text("years of work")
    elif kind == "dangling":
        output.symlink_to("nowhere")
    else:
        output.mkdir()
        (output / "saved_model.pb").write_text("years of work")
    before = {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*")}
    tiny_run.check_refused(launch(finished[0], output), str(output), "exists")
    assert before == {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*")}


def test_an_unwritable_place_is_refused(finished, tmp_path):
    (tmp_path / "file").write_text("years of work")
    tmp_path.chmod(0o500)
    # Nobody makes a directory there, root included.
    for output in (tmp_path / "file" / "model", "/proc/new/model", "/proc/model"):
        result = launch(finished[0], output)
        tiny_run.check_refused(result, str(output), "cannot be made", "--output")


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_a_kill_leaves_no_output(finished, tmp_path, how):
    output = tmp_path / "model"
    flags = [f"--run_dir={finished[0]}", f"--output={output}"]
    command = tiny_run.script("export.py", *flags)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    try:
        # The part of it that is there lies beside it, under another name.
        while not [*tmp_path.glob(".model.*")]:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, how)
        process.wait()
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143}[how]
    assert not output.exists()
    left = [*tmp_path.iterdir()]
    assert len(left) == (how == signal.SIGKILL)
    # The next one clears away what a kill has left.
    with files.new_directory(output) as partial:
        assert [*tmp_path.iterdir()] == [partial]
    assert [*tmp_path.iterdir()] == [output]
