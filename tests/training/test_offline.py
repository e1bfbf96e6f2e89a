import csv
import functools
import itertools
import signal

import pytest
import tiny_learner as tiny
from rich.console import Console

from idql_tf import exits
from idql_tf.errors import UserError
from idql_tf.training import offline
from idql_tf.training.checkpoints import Checkpoints
from idql_tf.training.divergence import Guard
from idql_tf.training.metrics import MetricsLog

BUDGET = {
    "critic_steps": 60,
    "behavior_steps": 90,
    "reward_rule": "none",
    "validation_fraction": 0.05,
    "best_fraction": 1.0,
    "block_steps": 8,
    "log_every": 20,
    "checkpoint_every": 15,
    "evaluate_every": 30,
    "episodes": 1,
    "keep_checkpoints": 2,
}


class Killed(Exception):
    pass


def _train(path, kill_at=None, on_evaluate=None, **changes):
    learner, arrays = tiny.learner((1, 2)), tiny.arrays()
    checkpoints = Checkpoints(path / "checkpoints", learner, 2)
    checkpoints.restore()
    drawn = functools.partial(learner.drawn, arrays)
    log = MetricsLog(path, (1, 2), "offline")
    log.resume(int(learner.critic_step), int(learner.behavior_step))
    evaluations = []

    def evaluate(step):
        evaluations.append(step)
        if step == kill_at:
            raise Killed
        if on_evaluate:
            on_evaluate(step)

    offline.train(
        learner,
        arrays,
        offline.Settings(**(BUDGET | changes)),
        checkpoints,
        Guard(path, learner, drawn, arrays.rewards.numpy(), 100.0),
        log,
        evaluate,
        Console(quiet=True),
        offline.StopSignals(),
    )
    return learner, evaluations


def _rows(path):
    with open(path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [r for r in rows if not r["name"].startswith("time/")]


def test_sixty_steps_equal_thirty_a_kill_and_thirty(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    straight, evaluations = _train(whole)
    assert evaluations == [30, 60]
    with pytest.raises(Killed):
        _train(broken, kill_at=30)
    resumed, evaluations = _train(broken)
    assert evaluations == [30, 60]
    tiny.assert_same(tiny.state(straight), tiny.state(resumed))
    assert _rows(whole) == _rows(broken)
    assert (int(resumed.critic_step), int(resumed.behavior_step)) == (60, 90)


def test_a_finished_run_trains_no_further(tmp_path):
    learner, _ = _train(tmp_path)
    before, rows = tiny.state(learner), _rows(tmp_path)
    again, _ = _train(tmp_path)
    tiny.assert_same(before, tiny.state(again))
    assert rows == _rows(tmp_path)


def test_a_damaged_newest_checkpoint_falls_back_on_the_one_before(tmp_path):
    _train(tmp_path)
    newest = sorted((tmp_path / "checkpoints").glob("step-60.data*"))[0]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    learner = tiny.learner((1, 2))
    assert Checkpoints(tmp_path / "checkpoints", learner, 2).restore() == 45


@pytest.mark.parametrize("damage", [b"garbage {{{", None])
def test_checkpoints_are_found_without_the_file_that_names_them(tmp_path, damage):
    _train(tmp_path)
    state = tmp_path / "checkpoints" / "checkpoint"
    state.unlink() if damage is None else state.write_bytes(damage)
    learner = tiny.learner((1, 2))
    checkpoints = Checkpoints(tmp_path / "checkpoints", learner, 2)
    assert checkpoints.restore() == 60 and checkpoints.skipped == []


@pytest.mark.slow
def test_a_folder_with_other_things_in_it(tmp_path):
    _train(tmp_path)
    (tmp_path / "checkpoints" / "step-abc.index").write_text("")
    learner = tiny.learner((1, 2))
    assert Checkpoints(tmp_path / "checkpoints", learner, 2).restore() == 60
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file cannot hold checkpoints"):
        Checkpoints(tmp_path / "file", learner, 2)


def test_only_the_last_checkpoints_are_kept(tmp_path):
    _train(tmp_path)
    kept = {p.name for p in (tmp_path / "checkpoints").glob("*.index")}
    assert kept == {"step-45.index", "step-60.index"}


def test_a_checkpoint_of_other_sizes_is_refused(tmp_path):
    _train(tmp_path)
    other = tiny.learner((1, 2), "Critic.hidden_dims = (24, 24)")
    with pytest.raises(UserError, match="no checkpoint .* fits"):
        Checkpoints(tmp_path / "checkpoints", other, 2).restore()


def test_a_checkpoint_carries_every_optimizer_slot(tmp_path):
    learner, _ = _train(tmp_path)
    fresh = tiny.learner((1, 2))
    Checkpoints(tmp_path / "checkpoints", fresh, 2).restore()
    slots = [*learner.behavior.optimizer.second, *learner.critic.q_optimizer.first]
    restored = [*fresh.behavior.optimizer.second, *fresh.critic.q_optimizer.first]
    assert all(abs(slot.numpy()).max() > 0 for slot in slots)
    tiny.assert_same([s.numpy() for s in slots], [s.numpy() for s in restored])


def test_blocks_end_on_every_mark():
    settings = offline.Settings(**BUDGET)
    ends = list(settings.blocks(0))
    assert {15, 20, 30, 40, 45, 60} <= set(ends) and ends[-1] == 60
    due = [settings.behavior_target(end) for end in [0, *ends]]
    for updates in [0, *ends], due:
        assert all(b - a <= 8 for a, b in itertools.pairwise(updates))
    assert settings.behavior_target(60) == 90


@pytest.mark.parametrize(
    "change",
    [
        {"critic_steps": 0},
        {"critic_steps": 1.5},
        {"behavior_steps": -1},
        {"validation_fraction": 1.0},
        {"best_fraction": 0.0},
        {"keep_checkpoints": 0},
    ],
)
def test_impossible_settings_are_named(change):
    with pytest.raises(UserError, match=next(iter(change))):
        offline.Settings(**(BUDGET | change))


def test_a_signal_whose_exception_was_swallowed_is_remembered():
    before = signal.signal(signal.SIGTERM, exits.Termination())
    try:
        with pytest.raises(SystemExit, match="143"):
            signal.raise_signal(signal.SIGTERM)
        with offline.StopSignals() as stop:
            assert stop.received == "SIGTERM"
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_stops_unless_nohup_was_asked(ignored):
    action = signal.SIG_IGN if ignored else signal.SIG_DFL
    before = signal.signal(signal.SIGHUP, action)
    try:
        with offline.StopSignals() as stop:
            signal.raise_signal(signal.SIGHUP)
        assert stop.received == (None if ignored else "SIGHUP")
        assert signal.getsignal(signal.SIGHUP) == action
    finally:
        signal.signal(signal.SIGHUP, before)
