"""The launch scripts as a user runs them: real maze, real files, real kills."""

import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import survival
import tensorflow as tf
from tiny_run import SMALL, check_refused, run_warm, script, train

from idql_tf import config, data
from idql_tf.data import rewards
from idql_tf.errors import UserError
from idql_tf.runs import directory

RUN_FILES = {
    "config.gin",
    "spec.json",
    "checkpoints",
    "metrics.csv",
    "tensorboard",
    "evaluations.csv",
    "summary.json",
    "report.html",
    "maze.npz",
}


def _weights(run_dir):
    path = tf.train.latest_checkpoint(run_dir / "checkpoints")
    reader = tf.train.load_checkpoint(path)
    names = [n for n in reader.get_variable_to_shape_map() if "OBJECT" not in n]
    return {n: reader.get_tensor(n) for n in names if "save_counter" not in n}


def test_a_run_holds_its_files_and_prints_its_table(finished):
    run_dir, printed, _ = finished
    assert {p.name for p in run_dir.iterdir()} == RUN_FILES
    assert "IDQL (N = 64)" in printed and "Behaviour cloning (N = 1)" in printed
    assert "from the dataset's metadata" in printed
    spec = json.loads((run_dir / "spec.json").read_text())
    assert spec["seeds"] == [0, 4] and spec["observation_size"] == 6
    assert spec["reward_rule"] == {"name": "none", "scale": 1.0, "offset": 0.0}
    assert spec["dataset"]["observation_keys"] == ["observation", "desired_goal"]


def test_every_episode_is_recorded_and_starts_are_shared(finished):
    run_dir, _, _ = finished
    text = (run_dir / "evaluations.csv").read_text()
    assert text.splitlines()[0] == (
        "phase,step,seed,extraction,num_candidates,episode,return,length,"
        "normalized_score,success"
    )
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 2 * 2 * 2
    assert {(r["seed"], r["num_candidates"]) for r in rows} == {
        (s, n) for s in "04" for n in ("1", "64")
    }
    with np.load(run_dir / "maze.npz") as found:
        paths = found["trajectory_xy"]
        assert found["value"].shape[0] == 2
    starts = paths[:, 0].reshape(4, 2, 2)
    np.testing.assert_array_equal(starts, np.tile(starts[:1], (4, 1, 1)))


def test_metrics_have_one_row_per_seed_and_name(finished):
    run_dir, _, _ = finished
    with open(run_dir / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["phase", "step", "seed", "name", "value"]
    keys = [(r["step"], r["seed"], r["name"]) for r in rows]
    assert len(keys) == len(set(keys))
    names = {r["name"] for r in rows}
    assert {"critic/q_loss", "behavior/loss", "validation/behavior_loss"} <= names
    last = max(int(r["step"]) for r in rows if r["name"] == "behavior/loss")
    assert last == 1_500


def test_the_report_is_one_self_contained_page(finished):
    text = (finished[0] / "report.html").read_text()
    for outside in ("<script", 'src="http', 'href="http', "@import"):
        assert outside not in text
    assert str(pathlib.Path.home()) not in text


def _wait_for_checkpoint(process, run_dir, step):
    deadline = time.monotonic() + 120
    while not (run_dir / "checkpoints" / f"step-{step}.index").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "number, code",
    [
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGTERM, 75, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_resumes_to_the_same_weights(
    finished, maze, tmp_path, number, code
):
    whole_dir, _, episodes = finished
    run_dir = tmp_path / "broken"
    command = train(maze, run_dir, "--seeds=0,4")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for_checkpoint(process, run_dir, 1_000)
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode == code
    result = run_warm(command)
    assert result.returncode == 0, result.stderr
    assert "resuming at critic step" in result.stdout
    whole, resumed = _weights(whole_dir), _weights(run_dir)
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    assert (run_dir / "evaluations.csv").read_text() == episodes
    logged = [survival.rows(path / "metrics.csv") for path in (whole_dir, run_dir)]
    if number == signal.SIGTERM:
        # It saved where it stopped, with a row of its own.
        keys = [{(r["step"], r["seed"], r["name"]) for r in rows} for rows in logged]
        assert keys[0] <= keys[1] and len(keys[1]) == len(logged[1])
    else:
        assert logged[0] == logged[1]


def test_two_programs_do_not_write_one_run(maze, tmp_path):
    command = train(maze, tmp_path / "run")
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not (tmp_path / "run" / "metrics.csv").exists():
            assert first.poll() is None
            time.sleep(0.02)
        check_refused(run_warm(command), "in use by another")
    finally:
        first.kill()
        first.wait()


def test_another_configuration_is_refused_and_nothing_is_written(finished, maze):
    run_dir, _, _ = finished
    before = {p: p.stat().st_mtime_ns for p in run_dir.rglob("*")}
    params = [*SMALL, "Expectile.tau=0.7"]
    result = run_warm(train(maze, run_dir, "--seeds=0,4", params=params))
    check_refused(result, "another configuration", "Expectile.tau = 0.7", "--run_dir")
    result = run_warm(train(maze, run_dir, "--seeds=0,5"))
    check_refused(result, "other seeds", "(0, 5)")
    assert before == {p: p.stat().st_mtime_ns for p in run_dir.rglob("*")}


@pytest.mark.parametrize(
    "args, words",
    [
        (["--dataset=minari:no/such-v0"], ["no/such-v0"]),
        (["--dataset=d4rl:missing.hdf5"], ["missing.hdf5"]),
        (["--dataset=parquet:x"], ["minari:", "d4rl:"]),
        ([], ["--dataset"]),
        (["--dataset=d4rl:x.hdf5", "--seeds=0,0"], ["--seeds", "0,1,2"]),
        (["--dataset=d4rl:x.hdf5", "--gin_param=Expectile.tua=1"], ["tua"]),
        (["--dataset=d4rl:x.hdf5", "--gin_file=nowhere.gin"], ["nowhere.gin"]),
        (["--dataset=d4rl:x.hdf5", "--colour=red"], ["colour"]),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(tmp_path, args, words):
    run_dir = tmp_path / "run"
    command = script("train.py", f"--run_dir={run_dir}", *args)
    check_refused(run_warm(command), *words)
    assert not run_dir.exists()


@pytest.mark.parametrize(
    "param, words",
    [
        ("evaluate.evaluation_seed='a'", ["evaluation_seed is 'a'", "integer >= 0"]),
        ("evaluate.evaluation_seed=-1", ["evaluation_seed is -1"]),
        ("evaluate.max_parallel=0", ["max_parallel is 0"]),
        ("evaluate.methods=[('argmax', 2147483648)]", ["integer up to 100,000"]),
        ("extract.temperature='a'", ["temperature of softmax extraction is 'a'"]),
        ("train.validation_fraction=0.999999", ["leaves none of the 1500"]),
        ("evaluate.methods=[('argmax', 1.7)]", ["is 1.7", "an integer"]),
        ("LnResnet.hidden_dim=0", ["a width of the score network is 0"]),
        ("LnResnet.num_blocks=-1", ["num_blocks is -1"]),
        ("Critic.learning_rate='a'", ["Critic.learning_rate is 'a'"]),
        ("Critic.discount=1.5", ["Critic.discount is 1.5", "from 0 to 1"]),
        ("Behavior.decay_steps='a'", ["Behavior.decay_steps is 'a'"]),
        ("Expectile.tau=" + 3_000 * "[", ["--gin_param"]),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    maze, tmp_path, param, words
):
    command = train(maze, tmp_path / "run", params=[*SMALL, param])
    check_refused(run_warm(command), *words)
    assert not (tmp_path / "run").exists()


def test_a_path_that_tensorflow_cannot_have_is_refused(maze, tmp_path):
    result = run_warm(train(maze, tmp_path / "run[1]"))
    check_refused(result, "run[1]' contains '[' ']'", "name or move it otherwise")
    assert not [*tmp_path.iterdir()]


def test_an_unknown_environment_is_refused(maze, tmp_path):
    result = run_warm(train(maze, tmp_path / "run", "--env_id=PointMaze_UMazze-v3"))
    check_refused(result, "PointMaze_UMazze-v3")
    assert not (tmp_path / "run").exists()


def test_a_directory_that_is_no_run_is_left_alone(maze, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    check_refused(run_warm(train(maze, tmp_path)), "not empty and not a run")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    result = run_warm(script("evaluate.py", f"--run_dir={tmp_path}"))
    check_refused(result, "spec.json")


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(finished, maze, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(finished[0], run_dir)
    shutil.rmtree(run_dir / "checkpoints")
    result = run_warm(train(maze, run_dir, "--seeds=0,4"))
    check_refused(result, "evaluations up to step 3,000", "restore checkpoints/")
    for name in ("evaluations.csv", "metrics.csv"):
        assert (run_dir / name).read_bytes() == (finished[0] / name).read_bytes()


def test_the_second_of_two_that_begin_a_run_at_once_is_refused(tmp_path):
    np.savez(
        tmp_path / "x.npz",
        observations=np.zeros((4, 2), np.float32),
        actions=np.zeros((4, 1), np.float32),
        rewards=np.arange(4.0),
        terminals=np.array([False, False, False, True]),
    )
    config.load([])
    loaded = data.load(f"npz:{tmp_path / 'x.npz'}")
    rule = rewards.resolve("none", loaded)
    first, second = (
        directory.Run(tmp_path / "run", loaded.info, rule, (seed,)) for seed in (3, 7)
    )
    directory.check(first)
    directory.check(second)  # Both may: nothing is there yet.
    methods = [("argmax", 1)]
    in_use = pytest.raises(UserError, match="in use by another program")
    with directory.begun(first, loaded, methods), in_use:
        directory.begun(second, loaded, methods).__enter__()
    with pytest.raises(UserError, match="other seeds: \\(3,\\)"):
        directory.begun(second, loaded, methods).__enter__()


def test_a_configuration_of_the_users_own_is_no_beginning_of_a_run(maze, tmp_path):
    (tmp_path / "config.gin").write_text("# precious\n")
    check_refused(run_warm(train(maze, tmp_path)), "not empty and not a run")
    assert (tmp_path / "config.gin").read_text() == "# precious\n"


@pytest.mark.parametrize("name", ["evaluations.csv", "metrics.csv"])
def test_tables_of_another_form_are_refused_before_training(
    finished, maze, tmp_path, name
):
    run_dir = tmp_path / "run"
    shutil.copytree(finished[0], run_dir)
    text = (run_dir / name).read_text().replace("\n", ",note\n")
    (run_dir / name).write_text(text)
    (run_dir / "checkpoints" / "step-3000.index").unlink()
    check_refused(run_warm(train(maze, run_dir, "--seeds=0,4")), "another header")
    assert (run_dir / name).read_text() == text
