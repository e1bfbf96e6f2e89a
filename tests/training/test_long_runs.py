"""Weeks of training: counters beyond what 32 bits hold."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tiny_learner

from idql_tf.evaluation import records
from idql_tf.nn import randomness
from idql_tf.nn.adam import cosine_decay
from idql_tf.training.checkpoints import Checkpoints
from idql_tf.training.metrics import MetricsLog

LATE = (2**31 + 5, 2**32 + 5)
SEEDS = tf.constant([0, 3], tf.int64)


def set_steps(learner, step):
    learner.critic_step.assign(step)
    for optimizer in (
        learner.behavior.optimizer,
        learner.critic.q_optimizer,
        learner.critic.value_optimizer,
    ):
        optimizer.step.assign(step)
    return learner


def test_draws_beyond_32_bits_are_draws_of_their_own():
    steps = (5, *LATE, 2**40 - 1, 2**39 + 5)
    words = [
        randomness.bits(randomness.keys(SEEDS, stream, step), [4]).numpy().tobytes()
        for stream in ("critic/batch", "behavior/batch")
        for step in steps
    ]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("step", LATE)
def test_training_goes_on_beyond_32_bits(step, tmp_path):
    arrays = tiny_learner.arrays()
    decay = f"Behavior.decay_steps = {2**31 - 1}"
    learner = set_steps(tiny_learner.learner([0], decay), step)
    before = tiny_learner.state(learner)
    metrics = learner.train(arrays, 4, 4)
    assert all(np.isfinite(v).all() for v in metrics.values())
    assert int(learner.critic_step) == int(learner.behavior_step) == step + 4
    moved = [
        not np.array_equal(a, b)
        for a, b in zip(before, tiny_learner.state(learner), strict=True)
    ]
    assert sum(moved) > len(moved) // 2

    early = set_steps(tiny_learner.learner([0], decay), step % 2**31)
    assert early.train(arrays, 4, 4)["critic/q_loss"] != metrics["critic/q_loss"]

    Checkpoints(tmp_path, learner, 1).save()
    restored = tiny_learner.learner([0], decay)
    assert Checkpoints(tmp_path, restored, None).restore() == step + 4
    tiny_learner.assert_same(tiny_learner.state(learner), tiny_learner.state(restored))


@pytest.mark.parametrize("step", [0, 2**31 - 1, *LATE, 2**33, 2**34])
def test_cosine_decay_beyond_32_bits(step):
    found = cosine_decay(3e-4, tf.constant(step, tf.int64), 2**33)
    expected = 1.5e-4 * (1 + math.cos(math.pi * min(step / 2**33, 1)))
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-11)


def test_metrics_go_on_where_the_file_was_moved_away(tmp_path):
    file = tmp_path / "metrics.csv"
    log = MetricsLog(tmp_path, [0], "offline")
    for step in (1, 2):
        log.write({"critic/q_loss": np.ones(1)}, step, step)
        lines = file.read_text().splitlines()
        assert len(lines) == 2 and lines[1].startswith(f"offline,{step},0,")
        file.rename(tmp_path / f"metrics.csv.{step}")  # As logrotate does.
    log.resume(2, 2)
    log.write({"critic/q_loss": np.ones(1)}, 3, 3)
    (tmp_path / "spec.json").write_text("{}")
    assert records.read_run(tmp_path).metrics["step"].tolist() == [3]


def test_logged_steps_beyond_32_bits(tmp_path):
    log = MetricsLog(tmp_path, [0], "offline")
    for step in (5, *LATE):
        log.write({"critic/q_loss": np.ones(1)}, step, step)
    (tmp_path / "spec.json").write_text("{}")
    assert records.read_run(tmp_path).metrics["step"].tolist() == [5, *LATE]
    log.resume(LATE[0], LATE[0])
    assert records.read_run(tmp_path).metrics["step"].tolist() == [5, LATE[0]]
