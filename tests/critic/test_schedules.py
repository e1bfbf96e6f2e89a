"""Schedules of tau and alpha, and what the critic makes of them."""

import types

import gin
import numpy as np
import pytest
import tensorflow as tf
import tiny_learner as tiny
from scipy import stats

from idql_tf import config, extraction
from idql_tf.critic.objectives import Expectile, Exponential, Quantile
from idql_tf.critic.schedules import AdaptiveSchedule, CosineSchedule, LinearSchedule
from idql_tf.critic.updates import Critic, CriticBatch
from idql_tf.errors import UserError
from idql_tf.nn import randomness
from idql_tf.online.settings import Settings
from idql_tf.runs.remote import policy_variables
from idql_tf.training.blocks import run_block
from idql_tf.training.checkpoints import Checkpoints
from idql_tf.training.learner import take_member

# As the bindings and as the object.
ADAPTIVE = (
    "Expectile.tau = @AdaptiveSchedule()",
    "AdaptiveSchedule.rate = 1e-2",
    "AdaptiveSchedule.least = 0.1",
)
ADAPTS = AdaptiveSchedule(0.5, 0.1, 1e-2, 0.1, 0.95)
PARAMETER, SHARE = "critic/objective_parameter", "critic/positive_share"


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


def _value(schedule, step):
    value = tf.constant([0.3, 0.4])
    return schedule.following(value, tf.constant(step, tf.int64), None).numpy()


@pytest.mark.parametrize("step", [0, 1, 30, 50, 99, 100, 250])
def test_linear_and_cosine_in_closed_form(step):
    part = min(step / 100, 1)
    line = _value(LinearSchedule(0.9, 0.5, 100), step)
    np.testing.assert_allclose(line, [0.9 - 0.4 * part] * 2, rtol=1e-6)
    wave = _value(CosineSchedule(0.5, 0.9, 100), step)
    expected = 0.5 + 0.4 * np.sin(0.5 * np.pi * part) ** 2
    np.testing.assert_allclose(wave, [expected] * 2, rtol=1e-6)


def test_the_adaptive_rule_by_hand():
    schedule = AdaptiveSchedule(0.5, 0.1, 0.2, 0.4, 0.9)
    value, share = tf.constant([0.5, 0.5, 0.41, 0.89]), tf.constant([0.1, 0.6, 0, 1.0])
    moved = schedule.following(value, tf.constant(7), share)
    np.testing.assert_allclose(moved, [0.5, 0.6, 0.4, 0.9], rtol=1e-6)


@pytest.mark.parametrize(
    "make", [Expectile, Quantile, lambda alpha: Exponential(alpha, 6.0)]
)
def test_each_member_has_the_objective_of_its_parameter(make):
    u = tf.constant(np.random.default_rng(0).normal(size=(2, 7, 3)), tf.float32)
    scheduled = make(LinearSchedule(0.5, 0.9, 10)).at(tf.constant([0.6, 0.8]))
    for name in ("loss", "gradient", "implicit_weight"):
        both = getattr(scheduled, name)(u)
        for member, number in enumerate((0.6, 0.8)):
            alone = getattr(make(number), name)(u[member])
            np.testing.assert_allclose(both[member], alone, rtol=1e-6)


def _made(objective, seeds=(0,), **changes):
    settings = {"learning_rate": 3e-3, "target_rate": 0.0} | changes
    return Critic(
        3, 2, seeds, objective, (16, 16), 2, 0.9, **settings, value_layer_norm=False
    )


def _batch(size=64):
    """Of one state, so that V is a number of the distribution of Q."""
    rng = np.random.default_rng(1)
    actions = tf.constant(rng.normal(size=(1, size, 2)), tf.float32)
    ones, zeros = tf.ones([1, size, 3]), tf.zeros([1, size])
    return CriticBatch(ones, actions, zeros, zeros, ones)


def _block(critic, seeds, batch):
    """A compiled block of n critic updates, as the learner's."""
    idle = {"loss": tf.zeros(len(seeds))}
    learner = types.SimpleNamespace(critic=critic, seeds=seeds, behavior_weight=None)

    def block(n):
        counts = tf.stack([n, 0])
        update = lambda: critic.update(batch())  # noqa: E731
        return run_block(update, lambda: idle, counts, learner)

    compiled = tf.function(block)
    return lambda n: compiled(tf.constant(n))


def test_the_adaptive_tau_is_the_one_whose_expectile_is_the_wanted_quantile():
    """With Q frozen: the expectile of Q at this tau has a quarter of Q above it."""
    schedule = AdaptiveSchedule(0.5, 0.25, 1e-2, 0.1, 0.99)
    critic, batch = _made(Expectile(schedule), learning_rate=1e-2), _batch()
    block = _block(critic, (0,), lambda: batch)
    assert float(block(1)[PARAMETER][0]) == 0.5
    block(400)
    found = float(block(200)[PARAMETER][0])
    q = np.sort(critic.target_q(batch.observations, batch.actions).numpy()[0].min(0))
    # Any tau between these has 16 of the 64 above its expectile.
    taus = np.linspace(0.5, 0.99, 491)
    above = [(q > stats.expectile(q, tau)).sum() for tau in taus]
    fitting = taus[np.equal(above, 16)]
    assert fitting.size and fitting[0] > 0.55
    assert fitting[0] - 0.02 < found < fitting[-1] + 0.02


def test_actors_elsewhere_are_sent_what_a_schedule_has_reached():
    learner = tiny.learner((0,), *ADAPTIVE)
    config.load(["gin/finetune/max.gin"])
    sent = policy_variables(learner, Settings())
    assert any(variable is learner.critic.parameter for variable in sent)


def test_weights_that_are_zero_count_in_no_share():
    critic, batch = _made(Expectile(LinearSchedule(0.5, 0.9, 10))), _batch()
    rng = np.random.default_rng(2)
    weights = rng.integers(0, 2, (1, 64)).astype(np.float32)
    share = critic.losses(batch._replace(weights=weights))["positive_share"]
    positive = critic.advantage(batch.observations, batch.actions).numpy() > 0
    assert float(share[0]) == pytest.approx(positive[weights > 0].mean())


def _drawing(seeds):
    """An adapting critic and its block on batches drawn as the learner draws them."""
    critic, rng = _made(Expectile(ADAPTS), seeds, target_rate=0.1), np.random
    rows = [
        tf.constant(rng.RandomState(0).normal(size=(200, n)), tf.float32)
        for n in (3, 2, 1)
    ]

    def batch():
        step = critic.value_optimizer.step
        keys = randomness.keys(tf.constant(seeds, tf.int64), "critic/batch", step)
        chosen = randomness.integers(keys, [32], 200)
        o, a, r = (tf.gather(x, chosen) for x in rows)
        return CriticBatch(o, a, r[..., 0], tf.ones_like(r[..., 0]), tf.sin(o))

    return critic, _block(critic, seeds, batch)


def test_blocks_resumes_and_single_seeds_are_one_run(tmp_path):
    once, whole = _drawing((3, 5))
    mean = whole(20)[PARAMETER]
    often, block = _drawing((3, 5))
    initial = tiny.state(often)
    each = [block(1)[PARAMETER].numpy() for _ in range(12)]
    saved = tf.train.Checkpoint(often).write(str(tmp_path / "step"))
    # As a new program has it: nothing of the first twelve updates.
    for variable, fresh in zip(often.variables, initial, strict=True):
        variable.assign(fresh)
    assert often.parameter.numpy().tolist() == [0.5, 0.5]
    tf.train.Checkpoint(often).read(saved).assert_existing_objects_matched()
    each += [block(1)[PARAMETER].numpy() for _ in range(8)]
    tiny.assert_same(tiny.state(once), tiny.state(often))
    np.testing.assert_allclose(mean, np.mean(each, 0), rtol=1e-5)
    values = once.parameter.numpy()
    assert np.ptp(each, 0).min() > 0.005 and abs(values[0] - values[1]) > 1e-4
    alone, single = _drawing((5,))
    np.testing.assert_allclose(single(20)[PARAMETER], mean[1:], rtol=1e-5)
    assert float(alone.parameter[0]) == pytest.approx(values[1], rel=1e-5)


@pytest.mark.slow
def test_a_learner_resumes_in_the_middle_of_its_schedule(tmp_path):
    arrays, once = tiny.arrays(), tiny.learner((3, 5), *ADAPTIVE)
    metrics = once.train(arrays, 20, 0)
    assert {PARAMETER, SHARE} <= set(metrics)
    often, resumed = (tiny.learner((3, 5), *ADAPTIVE) for _ in range(2))
    often.train(arrays, 12, 0)
    Checkpoints(tmp_path, often, 1).save()
    Checkpoints(tmp_path, resumed, None).restore()
    resumed.train(arrays, 8, 0)
    tiny.assert_same(tiny.state(once), tiny.state(resumed))
    config.load([], [*tiny.BINDINGS, *ADAPTIVE])
    copy = take_member(once, 1).critic
    assert float(copy.parameter[0]) == float(once.critic.parameter[1]) != 0.5


@pytest.mark.parametrize("pooled", [False, True])
def test_the_implicit_choice_has_the_present_parameter(pooled):
    critic = _made(Expectile(LinearSchedule(0.5, 0.9, 10)), (0, 1))
    critic.parameter.assign([0.6, 0.8])
    q = tf.constant([[[-1.0, 2.0]], [[-1.0, 2.0]]])[: 1 if pooled else 2]
    drawn = extraction.Candidates(q[..., None], q, tf.zeros_like(q[..., 0]))
    p = extraction.probabilities("implicit", drawn, critic)[:, 0, 1]
    np.testing.assert_allclose(p, [0.7] if pooled else [0.6, 0.8], rtol=1e-6)


def _states(*modules):
    return [tiny.state(module) for module in modules]


def test_while_v_warms_up_q_stays_bit_for_bit():
    """And the schedule's clock is V's, which runs."""
    objective = Expectile(CosineSchedule(0.5, 0.9, 3))
    critic, batch = _made(objective, value_warmup_steps=3, target_rate=0.1), _batch()
    update = tf.function(critic.update)
    kept = critic.q, critic.target_q, critic.q_optimizer
    before, value = _states(*kept), tiny.state(critic.value)
    metrics = [update(batch) for _ in range(3)]
    for ours, theirs in zip(before, _states(*kept), strict=True):
        tiny.assert_same(ours, theirs)
    moved = zip(value, tiny.state(critic.value), strict=True)
    assert all((old != new).any() for old, new in moved)
    assert (int(critic.q_optimizer.step), int(critic.value_optimizer.step)) == (0, 3)
    metrics.append(update(batch))
    assert (int(critic.q_optimizer.step), int(critic.value_optimizer.step)) == (1, 4)
    for ours, theirs in zip(before, _states(*kept), strict=True):
        assert all((old != new).any() for old, new in zip(ours, theirs, strict=True))
    found = [float(m["objective_parameter"][0]) for m in metrics]
    np.testing.assert_allclose(found, [0.5, 0.6, 0.8, 0.9], rtol=1e-6)
    assert set(metrics[0]) == set(critic.metrics)


@pytest.mark.parametrize(
    "binding, message",
    [
        (
            "Expectile.tau = @LinearSchedule",
            "tau is .*LinearSchedule.*expected a number",
        ),
        ("Expectile.tau = @HardAdvantage()", "tau is Hard.*expected a number"),
        ("Expectile.tau = 'high'", "tau is 'high'; expected a number"),
        ("LinearSchedule.last = 1.5", "tau of LinearSchedule is 1.5; expected"),
        ("LinearSchedule.first = 'low'", "tau of LinearSchedule is 'low'; expected"),
        ("LinearSchedule.steps = 0", "LinearSchedule.steps is 0"),
        ("AdaptiveSchedule.first = 0.3", "AdaptiveSchedule.first is 0.3.*from 0.5"),
        ("AdaptiveSchedule.most = 1.0", "tau of AdaptiveSchedule is 1.0; expected"),
        ("AdaptiveSchedule.rate = None", "AdaptiveSchedule.rate is None"),
        ("AdaptiveSchedule.positive_share = 2", "AdaptiveSchedule.positive_share is 2"),
        ("Critic.value_warmup_steps = -1", "Critic.value_warmup_steps is -1"),
        ("LinearSchedule.frist = 0.5", "frist"),
        ("Expectile.tau = @LinearShedule()", "LinearShedule"),
    ],
)
def test_what_is_no_schedule_is_refused(binding, message):
    used = binding.split(".")[0]
    if used.endswith("Schedule"):
        binding = f"Expectile.tau = @{used}()\n{binding}"
    with pytest.raises((UserError, TypeError), match=message):
        tiny.learner((3,), binding)
