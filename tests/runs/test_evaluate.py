"""launch/evaluate.py as a user runs it, on a run of launch/train.py."""

import json
import os
import shutil

import pytest
from tiny_run import check_refused, run_warm, script


def _evaluated_apart(finished, folder):
    """A copy of the run, where it was evaluated otherwise, and the command."""
    run_dir = folder / "run"
    shutil.copytree(finished[0], run_dir)
    flags = [f"--run_dir={run_dir}", "--episodes=1", "--num_candidates=1"]
    command = script("evaluate.py", *flags, params=["evaluate.evaluation_seed=5"])
    assert (done := run_warm(command)).returncode == 0, done.stderr
    return run_dir, folder / "run-evaluated", command


def test_evaluate_appends_its_episodes(finished, tmp_path):
    # A copy: other tests read the run, and none may see what another added.
    run_dir = tmp_path / "run"
    shutil.copytree(finished[0], run_dir)
    before = (run_dir / "evaluations.csv").read_text()
    result = run_warm(
        script(
            "evaluate.py",
            f"--run_dir={run_dir}",
            "--episodes=1",
            "--extraction=implicit",
            "--num_candidates=8",
        )
    )
    assert result.returncode == 0, result.stderr
    after = (run_dir / "evaluations.csv").read_text()
    assert after.startswith(before)
    added = after[len(before) :].splitlines()
    assert len(added) == 2 and all(",implicit,8," in line for line in added)


@pytest.mark.parametrize(
    "row", ["offline,3000", "offline,3000,0,argmax,x,0,1,2,3,\n", "\xff"]
)
def test_a_torn_row_of_evaluations_is_passed_over(finished, tmp_path, row):
    run_dir = tmp_path / "run"
    shutil.copytree(finished[0], run_dir)
    file = run_dir / "evaluations.csv"
    whole = file.read_text()
    file.write_bytes(whole.encode() + row.encode("latin1"))
    result = run_warm(script("evaluate.py", f"--run_dir={run_dir}", "--episodes=2"))
    if row == "\xff":
        check_refused(result, "evaluations.csv", "cannot be read as text")
    else:
        assert result.returncode == 0, result.stderr
        # What is recorded at this step is whole: nothing was evaluated.
        assert file.read_text() == whole + row


def test_an_evaluation_of_an_earlier_checkpoint_says_so(finished, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(finished[0], run_dir)
    for file in (run_dir / "checkpoints").glob("step-3000.data*"):
        file.write_bytes(file.read_bytes()[:-1])
    result = run_warm(script("evaluate.py", f"--run_dir={run_dir}", "--episodes=1"))
    assert result.returncode == 0, result.stderr
    assert "skipped a damaged checkpoint: step-3000" in result.stdout
    assert "up to step 3,000; the checkpoint at hand is of step 2,500" in result.stdout


def test_other_settings_are_evaluated_apart(finished, tmp_path):
    run_dir, apart, command = _evaluated_apart(finished, tmp_path)
    before = (finished[0] / "evaluations.csv").read_text()
    assert (run_dir / "evaluations.csv").read_text() == before
    rows = (apart / "evaluations.csv").read_text().splitlines()[1:]
    assert len(rows) == 2 and set(rows) - set(before.splitlines())
    assert "evaluation_seed = 5" in (apart / "config.gin").read_text()
    another = [*command[:-1], "--gin_param=evaluate.evaluation_seed=6"]
    check_refused(run_warm(another), "another configuration", "--output_dir")
    assert json.loads((apart / "spec.json").read_text())["evaluated_from"]
    shutil.copytree(finished[0], tmp_path / "twin")
    flags = [f"--run_dir={tmp_path / 'twin'}", f"--output_dir={apart}", "--episodes=1"]
    mixed = script("evaluate.py", *flags, params=["evaluate.evaluation_seed=5"])
    check_refused(run_warm(mixed), "other run evaluated")


def test_an_evaluation_that_is_refused_leaves_nothing(finished, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(finished[0], run_dir)
    flags = [f"--run_dir={run_dir}", "--num_candidates=200000"]
    result = run_warm(script("evaluate.py", *flags, params=["Expectile.tau=0.7"]))
    check_refused(result, "200000", "up to 100,000")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(finished, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(finished[0], run_dir)
    (run_dir / "config.gin").unlink()
    os.mkfifo(run_dir / "config.gin")
    result = run_warm(script("evaluate.py", f"--run_dir={run_dir}"))
    check_refused(result, "config.gin", "it is no file")


def test_without_methods_n_must_be_named(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    flags = [f"--run_dir={tmp_path / 'run'}", "--extraction=implicit"]
    result = run_warm(script("evaluate.py", *flags, params=["evaluate.methods=()"]))
    check_refused(result, "records no methods", "--num_candidates")


def test_evaluations_apart_of_a_run_that_was_made_anew_are_refused(finished, tmp_path):
    run_dir, apart, command = _evaluated_apart(finished, tmp_path)
    os.utime(run_dir / "spec.json")
    check_refused(run_warm(command), "older than the run", "--output_dir")
    assert (apart / "summary.json").exists()
