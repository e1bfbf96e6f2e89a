"""The launch scripts run as a user runs them, on a maze small enough for seconds."""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

from paths import REPOSITORY

SMALL = [
    "CRITIC_STEPS=3_000",
    "BEHAVIOR_STEPS=1_500",
    "LnResnet.hidden_dim=16",
    "Critic.hidden_dims=(16, 16)",
    "IdqlLearner.critic_batch_size=16",
    "IdqlLearner.behavior_batch_size=16",
    "train.block_steps=100",
    "train.log_every=1_000",
    "train.checkpoint_every=500",
    "train.evaluate_every=3_000",
    "train.episodes=2",
]


def script(name, *args, params=(), files=()):
    flags = [f"--gin_param={p}" for p in params] + [f"--gin_file={f}" for f in files]
    return [sys.executable, str(REPOSITORY / "launch" / name), *args, *flags]


def train(maze, run_dir, *args, params=SMALL):
    args = [f"--dataset={maze}", f"--run_dir={run_dir}", *args]
    return script("train.py", *args, params=params, files=["gin/tasks/maze2d.gin"])


def run(command):
    # Offline, so that an unknown dataset fails at once instead of retrying.
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=300,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )


# Forks of a process that has imported what takes every script six seconds.
WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(["tests.warm_imports"])


def start_warm(command, folder):
    """Starts a script without the cost of its imports; 1 and 2 are what it prints."""
    arguments = command[1:], folder, dict(os.environ)
    process = WARM.Process(target=_in_fork, args=arguments)
    process.start()
    return process


def run_warm(command):
    """As `run`, but for the imports: not for what these print."""
    with tempfile.TemporaryDirectory() as folder:
        process = start_warm(command, folder)
        process.join(300)
        assert process.exitcode is not None, f"{command} does not end"
        printed = [(pathlib.Path(folder) / str(fd)).read_text() for fd in (1, 2)]
    return subprocess.CompletedProcess(command, process.exitcode, *printed)


def _in_fork(arguments, folder, environment):
    for fd in 1, 2:
        os.dup2(os.open(f"{folder}/{fd}", os.O_WRONLY | os.O_CREAT), fd)
    os.chdir(REPOSITORY)
    os.environ.update(environment, HF_HUB_OFFLINE="1")
    sys.argv = list(map(str, arguments))
    runpy.run_path(sys.argv[0], run_name="__main__")


def check_quiet(result):
    assert result.returncode == 0, result.stderr
    # XLA may still say this when it opens a stream late; nothing else is said.
    assert [x for x in result.stderr.splitlines() if "SetPriority" not in x] == []


def check_refused(result, *words):
    assert result.returncode == 2, (result.returncode, result.stderr)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    for word in words:
        assert word in lines[0]
