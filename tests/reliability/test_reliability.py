"""What a user bets a week of GPU time on."""

import subprocess
import sys
import time

import pytest
import survival
from paths import REPOSITORY
from tiny_run import SMALL, run_warm, start_warm, train


@pytest.mark.slow
def test_two_processes_train_the_same(maze, tmp_path):
    tiny = ["CRITIC_STEPS=200", "BEHAVIOR_STEPS=100", "train.log_every=50"]
    tiny += ["train.episodes=1", "evaluate.methods=(('argmax', 1),)"]
    processes = []
    for name in "ab":
        (tmp_path / f"printed-{name}").mkdir()
        command = train(maze, tmp_path / name, "--seeds=3", params=[*SMALL, *tiny])
        processes.append(start_warm(command, tmp_path / f"printed-{name}"))
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    assert len(survival.rows(tmp_path / "a" / "metrics.csv")) > 30
    survival.check_same(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_a_full_disk_costs_nothing_that_was_saved(finished, maze, small_disk, tmp_path):
    folder, fill = small_disk
    run_dir = folder / "run"
    command = train(maze, run_dir, "--seeds=0,4")
    process = start_warm(command, tmp_path)
    while not (run_dir / "checkpoints" / "step-1000.json").exists():
        assert process.is_alive(), (tmp_path / "2").read_text()
        time.sleep(0.01)
    filler = fill()
    process.join(300)
    said = (tmp_path / "2").read_text().strip().splitlines()
    assert process.exitcode == 1 and len(said) == 1, said
    assert said[0].startswith("error: ") and "No space left on device" in said[0]
    # Nothing can be begun either, and nothing is lost by trying.
    again = run_warm(command)
    assert again.returncode == 1 and "No space left" in again.stderr, again.stderr
    assert len(again.stderr.strip().splitlines()) == 1, again.stderr
    filler.unlink()
    done = run_warm(command)
    assert done.returncode == 0, done.stderr
    assert "resuming at critic step" in done.stdout
    survival.check_trained(finished[0], run_dir)
    assert (run_dir / "evaluations.csv").read_text() == finished[2]


@pytest.mark.slow
def test_runs_survive_kills_at_random_moments():
    """The kill script with few kills; by hand it takes hundreds."""
    script = REPOSITORY / "tests" / "reliability" / "kill_many.py"
    command = [sys.executable, str(script), "--kills=6", "--seed=11"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tried    6  survived    6" in done.stdout
