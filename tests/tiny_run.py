"""The launch scripts run as a user runs them, on a maze small enough for seconds."""

import os
import subprocess
import sys

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
