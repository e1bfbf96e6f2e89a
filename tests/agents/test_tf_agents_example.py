"""docs/examples/train_with_tf_agents.py as a user runs it, stopped and resumed."""

import importlib.util
import math
import os
import re
import subprocess
import sys

import pytest
from paths import REPOSITORY

if importlib.util.find_spec("reverb") is None:
    pytest.skip("dm-reverb is not installed", allow_module_level=True)

SCRIPT = REPOSITORY / "docs" / "examples" / "train_with_tf_agents.py"
SMALL = [
    "LnResnet.hidden_dim=16",
    "LnResnet.num_blocks=1",
    "Behavior.num_diffusion_steps=2",
    "Critic.hidden_dims=(16, 16)",
    "IdqlAgent.num_behavior_updates=1",
    "train_eval.num_candidates=4",
    "train_eval.batch_size=16",
    "train_eval.initial_collect_steps=50",
    "train_eval.replay_timeout_seconds=30",
    "train_eval.eval_episodes=1",
    "train_eval.interval=2",
]
# Threads that fight for a busy core double the time of programs this small.
ONE_THREAD = dict(os.environ, TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
# The default environment, InvertedPendulum-v5: 4 observations, 1 action in [-3, 3].
PLAIN_TENSORFLOW = """
import collections, sys
import tensorflow as tf

TimeStep = collections.namedtuple(
    "TimeStep", ["step_type", "reward", "discount", "observation"]
)
time_step = TimeStep(
    tf.zeros([50], tf.int32), tf.zeros([50]), tf.ones([50]), tf.random.normal([50, 4])
)
policy = tf.saved_model.load(sys.argv[1])
action = policy.action(time_step).action
assert action.shape == [50, 1], action.shape
assert tf.reduce_all(tf.abs(action) <= 3), action
assert tf.math.reduce_std(action) > 0, action
assert not [name for name in sys.modules if name.startswith(("tf_agents", "idql"))]
"""


def run(*command):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=ONE_THREAD,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done


def train(root_dir, num_iterations):
    """Trains, and returns the first step, the steps reported, and the policy."""
    params = [f"--gin_param={param}" for param in SMALL]
    done = run(
        SCRIPT, "--root_dir", root_dir, "--num_iterations", num_iterations, *params
    )
    assert done.stderr == ""
    start, *reports, end = done.stdout.splitlines()
    steps = []
    for report in reports:
        step, *numbers = re.fullmatch(
            r"train step (\d+): loss (\S+), return (\S+)", report
        ).groups()
        steps.append(int(step))
        assert all(math.isfinite(float(number)) for number in numbers), report
    (policy,) = re.findall(r"tf\.saved_model\.load\('(.+)'\)", end)
    return start, steps, policy


@pytest.mark.slow
def test_trains_resumes_and_leaves_a_policy(tmp_path):
    assert train(tmp_path, 4)[:2] == ("train step 0", [2, 4])
    log = (tmp_path / "log.txt").read_text()
    assert "steps/sec" in log
    start, steps, policy = train(tmp_path, 6)
    assert (start, steps) == ("train step 4", [6])
    more = (tmp_path / "log.txt").read_text().removeprefix(log)
    assert re.search(r"\d\d items have been successfully loaded", more)
    run("-c", PLAIN_TENSORFLOW, policy)
