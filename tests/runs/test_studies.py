"""launch/reproduce.py's studies: real runs, stopped and gone on with."""

import csv
import json
import os
import pathlib
import runpy
import signal
import subprocess
import time

import pytest
from paths import REPOSITORY
from tiny_run import check_refused, run_warm, script, start_warm

from idql_tf.experiments.study import Settings
from idql_tf.runs.studies import STUDIES

# A Gaussian is compiled in a fraction of a diffusion model's time.
TINY = (
    "IdqlLearner.behavior = @GaussianBehavior",
    "GaussianBehavior.sampler_temperature = 1.0",
)


def _task(dataset):
    return f"study.tasks = {{'maze': {_quick() | {'dataset': dataset}}}}"


def _quick():
    """The task of gin/studies/quick.gin."""
    import gin

    from idql_tf import config

    config.load(["gin/studies/common.gin", "gin/studies/quick.gin"])
    task = Settings().tasks["maze"]
    gin.clear_config()
    return task


def _command(name, output, *params):
    flags = name, f"--output={output}", "--budget=quick"
    return script("reproduce.py", *flags, params=params)


@pytest.mark.slow
def test_a_stopped_study_goes_on_where_it_was(maze, tmp_path):
    output, printed = tmp_path / "out", tmp_path / "printed"
    printed.mkdir()
    command = _command("figure6", output, _task(maze), *TINY)
    first, second = (output / "figure6-runs" / f"maze-batch-{n}" for n in (8, 16))
    process = start_warm(command, printed)
    deadline = time.monotonic() + 240
    while not pathlib.Path(f"{second}.log").exists():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    process.join(120)
    assert process.exitcode == 75, (printed / "2").read_text()
    assert "stopped; run the same command" in (printed / "1").read_text()
    assert (first / "summary.json").exists()
    assert not (second / "summary.json").exists()
    assert not (output / "figure6.csv").exists()
    before = {p: p.stat().st_mtime_ns for p in first.rglob("*")}

    done = run_warm(command)
    assert done.returncode == 0, done.stderr
    assert "figure6: 2 runs, 1 of them finished before" in done.stdout
    (claim,) = json.loads((output / "figure6.json").read_text())
    assert ("DOES NOT HOLD" in done.stdout) == (not claim["holds"])
    assert before == {p: p.stat().st_mtime_ns for p in first.rglob("*")}
    with open(output / "figure6.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {r["x"] for r in rows} == {"8", "16"} and len(rows) == 4
    assert {r["run"] for r in rows} == {first.name, second.name}
    assert (output / "figure6.png").read_bytes()[:4] == b"\x89PNG"

    other = _command("figure6", output, _task(maze), *TINY, "Expectile.tau = 0.7")
    check_refused(run_warm(other), "another configuration", "--output")
    other = _command("figure6", output, _task(maze), *TINY, "study.seeds = (0, 1)")
    check_refused(run_warm(other), "other seeds")


def test_missing_data_are_named_before_anything_is_trained(tmp_path):
    output = tmp_path / "out"
    task = _task("npz:none.npz")
    check_refused(run_warm(_command("table3", output, task)), "none.npz")
    assert not list(output.rglob("*.log"))
    task = _task("collect:PointMaze_UMaze-v3")
    check_refused(run_warm(_command("table3", output, task)), "collect:ENV:STEPS")


def test_the_script_knows_the_studies():
    names = runpy.run_path(str(REPOSITORY / "launch" / "reproduce.py"))["STUDIES"]
    assert list(names) == list(STUDIES)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs(name, tmp_path):
    done = subprocess.run(
        _command(name, tmp_path), capture_output=True, text=True, timeout=1_200
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / f"{name}.json").read_text())
    with open(tmp_path / f"{name}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["value"]) > -1e3 for row in rows)
