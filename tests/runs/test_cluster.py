"""finetune.py --cluster and sweep.py on a Ray cluster of this machine."""

import csv
import importlib.util
import os
import pathlib
import signal

import pytest
from distributed import check_unbroken, check_whole, end, said, wait
from tiny_run import SMALL, check_refused, run_warm, script

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(
    not HAS_RAY,
    reason="Ray is not installed: pip install -c requirements.lock '.[cluster]'",
)

SWEEP = """
sweep.tasks = {{
    'a': {{'dataset': '{data}', 'gin_files': ('gin/tasks/maze2d.gin',)}},
    'b': {{'dataset': '{data}', 'gin_params': ('Expectile.tau = 0.6',)}},
}}
sweep.seeds = (0, 1, 2)
sweep.seeds_per_run = 2
cluster.learner_cpus = 0.5
"""


def _spec(folder, data, more=""):
    path = folder / "spec.gin"
    path.write_text(SWEEP.format(data=data) + "\n".join(SMALL) + "\n" + more)
    return path


def _sweep(folder, spec):
    few = ["CRITIC_STEPS=500", "BEHAVIOR_STEPS=250", "train.evaluate_every=500"]
    flags = [f"--spec={spec}", f"--output={folder / 'out'}"]
    return script("sweep.py", *flags, params=few)


def _pid_of(name):
    """The process in which Ray runs a task, once it does."""
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_text().startswith(f"ray::{name}"):
                return int(folder.name)
        except OSError:
            continue
    return None


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed here")
def test_without_ray_the_cure_is_told(finished, make_job, tmp_path):
    job = make_job(100)
    cluster = job.start("cluster")
    assert end(cluster) == 2
    assert "[cluster]" in said(cluster)[1] and not job.output.exists()
    swept = run_warm(_sweep(tmp_path, _spec(tmp_path, "npz:none.npz")))
    check_refused(swept, "Ray cannot be imported")


@pytest.mark.parametrize(
    "more, words",
    [
        ("sweep.seeds = (0, 0)", "distinct seeds"),
        ("sweep.finetune = 'both'", "sweep.finetune is 'both'"),
        ("sweep.tasks = {'a/b': {'dataset': 'x'}}", "'a/b' is no name"),
        ("sweep.tasks = {'a': {'data': 'x'}}", "'a' has"),
        ("sweep.tasks = {'a': 'x'}", "'a' is 'x'"),
        ("sweep.tasks = ('a',)", "expected a dict of tasks"),
        ("cluster.num_actors = 0", "cluster.num_actors is 0"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_refused(tmp_path, more, words):
    swept = run_warm(_sweep(tmp_path, _spec(tmp_path, "npz:none.npz", more)))
    check_refused(swept, words)
    assert not (tmp_path / "out").exists()


@needs_ray
@pytest.mark.slow
def test_ray_brings_back_what_dies(make_job):
    job = make_job(1_000, "cluster.actor_cpus=0.25")
    cluster = job.start("cluster")
    job.wait_for(300, cluster)
    for name in "learner", "actor":
        os.kill(_pid_of(name), signal.SIGKILL)
    job.wait_for(500, cluster)
    os.kill(_pid_of("server"), signal.SIGKILL)
    assert end(cluster, 400) == 0, said(cluster)
    check_whole(job, 1_000)


@needs_ray
@pytest.mark.slow
def test_a_stopped_cluster_goes_on(make_job):
    job = make_job(800, "cluster.actor_cpus=0.25")
    cluster = job.start("cluster")
    job.wait_for(200, cluster)
    os.kill(cluster.pid, signal.SIGTERM)
    assert end(cluster) == 75, said(cluster)
    wait(lambda: _pid_of("learner") is None)
    cluster = job.start("cluster")
    assert end(cluster, 400) == 0, said(cluster)
    check_unbroken(check_whole(job, 800))


@needs_ray
@pytest.mark.slow
def test_a_sweep_ends_in_one_table(maze, tmp_path):
    command = _sweep(tmp_path, _spec(tmp_path, maze))
    swept = run_warm(command)
    assert swept.returncode == 0, swept.stdout + swept.stderr
    out = tmp_path / "out"
    with open(out / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["task"] for row in rows} == {"a", "b"}
    assert all(len(row["per seed"].split()) == 3 for row in rows)
    assert (out / "report.html").exists()
    trained = {p: p.stat().st_mtime_ns for p in out.glob("*/checkpoints/*.index")}
    assert len({p.parent for p in trained}) == 4
    again = run_warm(command)
    assert again.returncode == 0, again.stdout + again.stderr
    assert all(p.stat().st_mtime_ns == when for p, when in trained.items())
    # One bad task does not keep the others from their table.
    spec = _spec(tmp_path, maze, "sweep.seeds = (0, 1, 2, 3)")
    spec.write_text(
        spec.read_text().replace(
            f"'{maze}', 'gin_params'", "'npz:none.npz', 'gin_params'"
        )
    )
    partly = run_warm(_sweep(tmp_path, spec))
    assert partly.returncode == 1 and "b-seed0-1 failed" in partly.stdout
    assert "none.npz" in partly.stdout and "a " in partly.stdout
