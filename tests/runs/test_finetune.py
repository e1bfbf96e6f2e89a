"""launch/finetune.py as a user runs it: real maze, real Reverb server, real kills."""

import csv
import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
import tensorflow as tf
from tiny_run import check_refused, run_warm, script, start_warm

PARAMS = [
    "finetune.num_environments=2",
    "finetune.num_candidates=4",
    "finetune.warm_start_steps=40",
    "finetune.critic_updates_per_step=0.5",
    "finetune.offline_transitions_per_item=8",
    "finetune.weights_every=10",
    "finetune.log_every=40",
    "finetune.checkpoint_every=40",
    "finetune.evaluate_every=120",
    "finetune.episodes=1",
    "evaluate.methods=(('argmax', 4),)",
]
STEPS, TRAINED = 200, (3_000, 1_500)


def _finetune(run_dir, mode, output, *more, steps=STEPS):
    flags = [f"--run_dir={run_dir}", f"--mode={mode}", f"--num_env_steps={steps}"]
    output = [f"--output_dir={output}"] if output else []
    return script("finetune.py", *flags, *output, params=[*PARAMS, *more])


def _state(folder):
    # By name: a kill may come before the file that names the newest.
    numbers = [int(p.stem[5:]) for p in (folder / "checkpoints").glob("step-*.index")]
    path = folder / "checkpoints" / f"step-{max(numbers)}"
    reader = tf.train.load_checkpoint(str(path))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if "OBJECT" not in name
    }


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _updates(folder):
    """(step, critic updates, behaviour updates) of every row of the log."""
    rows = _rows(folder / "metrics.csv")
    found = {}
    for row in rows:
        if row["name"].endswith("/updates"):
            found.setdefault(int(row["step"]), {})[row["name"]] = int(row["value"])
    return [
        (step, x["critic/updates"], x["behavior/updates"])
        for step, x in sorted(found.items())
    ]


def _journal(folder):
    files = sorted((folder / "replay").glob("*.npz"))
    return np.concatenate([np.load(file)["packed"] for file in files])


@pytest.mark.parametrize(
    "mode, ratio", [pytest.param("max", 0, marks=pytest.mark.slow), ("imp", 2)]
)
def test_trains_what_table_3_says_and_leaves_the_run_alone(
    finished, tmp_path, mode, ratio
):
    source = tmp_path / "run"
    shutil.copytree(finished[0], source)
    before = {p: p.stat().st_mtime_ns for p in source.rglob("*")}
    done = run_warm(_finetune(source, mode, None))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert before == {p: p.stat().st_mtime_ns for p in source.rglob("*")}
    output = tmp_path / f"run-{mode}"
    critic, behavior = TRAINED
    assert _updates(output) == [
        (step, critic + (step - 40) // 2, behavior + ratio * (step - 40))
        for step in (40, 80, 120, 160, 200)
    ]
    assert [(r["phase"], r["step"]) for r in _rows(output / "evaluations.csv")] == [
        ("online", step) for step in ("0", "120", "200") for _ in range(2)
    ]
    old, new = _state(source), _state(output)
    changed = {
        room: any(
            not np.array_equal(value, new[name])
            for name, value in old.items()
            if name.startswith(f"learner/{room}/")
        )
        for room in ("critic", "behavior")
    }
    assert changed == {"critic": True, "behavior": ratio > 0}
    assert _journal(output).shape == (STEPS, 2, 16)
    assert "finetuned_from" in (output / "spec.json").read_text()
    assert "online step 200" in done.stdout


@pytest.mark.parametrize(
    "number, code",
    [
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGTERM, 75, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_goes_on_where_it_was(finished, tmp_path, number, code, request):
    output = tmp_path / "out"
    command = _finetune(finished[0], "max", output, steps=20_000)
    folder = tmp_path / "printed"
    folder.mkdir()
    process = start_warm(command, folder)
    request.addfinalizer(process.kill)
    deadline = time.monotonic() + 120
    while not (output / "checkpoints" / "step-3220.index").exists():  # 160 + 60
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == code
    saved = int(_state(output)["learner/env_step/.ATTRIBUTES/VARIABLE_VALUE"])
    assert saved >= 160
    kept = _journal(output)[:saved]
    steps = saved - saved % 40 + 80
    done = run_warm(_finetune(finished[0], "max", output, steps=steps))
    assert done.returncode == 0, done.stderr
    assert f"resuming at environment step {saved} of {steps}" in done.stdout
    np.testing.assert_array_equal(_journal(output)[:saved], kept)
    assert len(_journal(output)) == steps
    # Every update that was due was taken once, whatever the kill came between.
    assert _updates(output)[-1] == (steps, 3_000 + (steps - 40) // 2, 1_500)
    logged = [row[0] for row in _updates(output)]
    assert logged == sorted(set(logged)) and logged[:4] == [40, 80, 120, 160]
    evaluated = [row["step"] for row in _rows(output / "evaluations.csv")]
    assert evaluated[:4] == ["0", "0", "120", "120"] and evaluated[-1] == str(steps)


@pytest.mark.slow
def test_a_finetuning_that_diverges_says_where(finished, tmp_path):
    output = tmp_path / "out"
    bad = run_warm(_finetune(finished[0], "max", output, "Critic.learning_rate=1e30"))
    assert bad.returncode == 1, bad.stderr
    lines = bad.stderr.strip().splitlines()
    assert len(lines) == 1 and "a critic loss of seed" in lines[0], lines
    assert "no number in its batch is beyond 1e+09" in lines[0]
    with np.load(output / "diverged.npz", allow_pickle=False) as batch:
        assert batch["update"] >= 3_000 and batch["is_online"].mean() == 0.5
        # Transitions that are not in a checkpoint are nowhere else.
        assert batch["transition"][batch["is_online"]].max() < 200
    # Only what came before the first update may have been saved.
    steps = [p.stem for p in (output / "checkpoints").glob("*.index")]
    assert steps in ([], ["step-3040"])


def test_what_cannot_be_finetuned_is_refused(finished, tmp_path):
    output = tmp_path / "out"
    bad = run_warm(_finetune(tmp_path / "none", "max", output))
    check_refused(bad, "none", "not a run")
    bad = run_warm(_finetune(finished[0], "best", output))
    check_refused(bad, "mode", "max", "imp")
    bad = run_warm(_finetune(finished[0], "max", output, steps=0))
    check_refused(bad, "--num_env_steps is 0")
    bad = run_warm(_finetune(finished[0], "max", output, "finetune.capacity=-1"))
    check_refused(bad, "finetune.capacity is -1")
    assert not output.exists()
    bad = run_warm(_finetune(finished[0], "max", output, "finetune.deadline_seconds=0"))
    check_refused(bad, "finetune.deadline_seconds is 0")
    bad = run_warm(_finetune(finished[0], "max", finished[0]))
    check_refused(bad, "another configuration")


@pytest.mark.slow
def test_a_run_whose_checkpoints_are_gone_is_left_alone(finished, tmp_path):
    output = tmp_path / "out"
    done = run_warm(_finetune(finished[0], "max", output, steps=80))
    assert done.returncode == 0, done.stderr
    shutil.rmtree(output / "checkpoints")
    before = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}
    again = run_warm(_finetune(finished[0], "max", output, steps=120))
    check_refused(again, "no checkpoint of them", "restore checkpoints/")
    after = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}
    assert after == before


@pytest.mark.slow
def test_a_finetuned_run_is_a_run(finished, tmp_path):
    """For evaluate.py, export.py and another finetuning, which begins at 0."""
    first, second = tmp_path / "first", tmp_path / "second"
    done = run_warm(_finetune(finished[0], "max", first, steps=80))
    assert done.returncode == 0, done.stderr
    flags = [f"--run_dir={first}", "--episodes=2", "--num_candidates=2"]
    done = run_warm(script("evaluate.py", *flags))
    assert done.returncode == 0, done.stderr
    added = [r for r in _rows(first / "evaluations.csv") if r["num_candidates"] == "2"]
    assert [(r["phase"], r["step"]) for r in added] == [("online", "80")] * 4
    exported = [f"--run_dir={first}", f"--output={tmp_path / 'model'}"]
    done = run_warm(script("export.py", *exported, "--num_candidates=2"))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    card = json.loads((tmp_path / "model" / "model_card.json").read_text())
    measured = card["scores"]["measured"]
    assert (measured["phase"], measured["step"]) == ("online", 80)
    done = run_warm(_finetune(first, "max", second, steps=60))
    assert done.returncode == 0, done.stderr
    assert _updates(second)[-1] == (60, 3_000 + 20 + 10, 1_500)
    # A run goes on as what it began as.
    check_refused(run_warm(_finetune(finished[0], "max", second)), "other source")
