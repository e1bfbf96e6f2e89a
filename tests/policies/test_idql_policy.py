import numpy as np
import pytest
import tensorflow as tf
from tf_agents.utils import nest_utils
from tiny_policies import (
    BEHAVIOR,
    CRITIC,
    HIGH,
    LOW,
    OBSERVATIONS,
    ONE,
    RESNETS,
    STACK,
    STEP,
    WORDS,
    A,
    B,
    N,
    make_observations,
    make_policy,
    make_step,
)

from idql_tf import extraction
from idql_tf.errors import UserError
from idql_tf.nn import randomness
from idql_tf.policies import PolicyInfo


def _env(actions):
    return LOW + (actions + 1) / 2 * (HIGH - LOW)


def _drawn(words, networks=ONE, seeds=None):
    """Candidates [B, N, A], Q [B, N], V [B] as the networks themselves give them."""
    (critic, behavior), size = networks, len(networks[1].seeds)
    keys = randomness.keys(seeds or words[:1], "candidates", words[1] % 2**40)
    observations = tf.stack([OBSERVATIONS] * size)
    actions = behavior.denoise(observations, behavior.draw_noise(B, N, keys), N)
    actions = np.concatenate(actions.numpy(), axis=1)
    rows = tf.repeat(observations, size * N, axis=1)
    q = critic.target_q(rows, np.stack([actions.reshape(-1, A)] * size)).numpy()
    q = q.min(1).mean(0).reshape(B, size * N)
    return actions, q, critic.value(observations).numpy().mean(0)


def _best(actions, q):
    return np.take_along_axis(actions, q.argmax(-1)[:, None, None], 1)[:, 0]


@pytest.mark.parametrize("method", extraction.METHODS)
def test_a_call_is_a_function_of_its_seed(method):
    policy = make_policy(method)

    def act(seed):
        return policy.action(STEP, seed=seed).action.numpy()

    first = act(7)
    for same in (7, (7, 0), np.int64(7), tf.constant([7, 0], tf.int64), (7, 2**40)):
        np.testing.assert_array_equal(act(same), first)
    for other in (8, (7, 1), 2**50, -7, None, None):
        assert np.abs(act(other) - first).max() > 0.01, other
    assert np.abs(act(None) - act(None)).max() > 0.01


@pytest.mark.parametrize("compiled", [False, True])
def test_set_seed_repeats_unseeded_calls(compiled):
    def run():
        tf.random.set_seed(3)
        act = make_policy("implicit").action
        act = tf.function(act) if compiled else act
        return np.array([act(STEP).action for _ in range(3)])

    first = run()
    np.testing.assert_array_equal(run(), first)
    assert np.abs(first[0] - first[1]).max() > 0.01


@pytest.mark.parametrize("method", extraction.METHODS)
def test_acts_and_informs_as_extraction_does(method):
    policy = make_policy(method, temperature=3.0, emit_info=True)
    words = WORDS[:1], WORDS[1]
    expected = extraction.extract(*ONE, OBSERVATIONS[None], *words, method, N, 3.0)
    found = policy.action(STEP, seed=WORDS)
    np.testing.assert_allclose(found.action, _env(expected.action[0]), atol=1e-4)
    for ours, theirs in zip(found.info, expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs[0], atol=1e-4)
    assert policy.info_spec == PolicyInfo(*[tf.TensorSpec([], tf.float32)] * 3)
    assert policy.collect_data_spec.policy_info == policy.info_spec
    assert nest_utils.is_batched_nested_tensors(found, policy.policy_step_spec)
    assert make_policy().info_spec == () == make_policy().action(STEP).info


@pytest.mark.parametrize(
    ("networks", "seeds"), [(ONE, None), (STACK, [14, 15]), (RESNETS, [14, 15])]
)
def test_argmax_takes_the_best_and_info_tells_of_it(networks, seeds):
    """Also of two pooled members: all candidates in a row, valued by both."""
    policy = make_policy(networks=networks, pooled=seeds is not None, emit_info=True)
    found = policy.action(STEP, seed=WORDS)
    actions, q, value = _drawn(WORDS, networks, seeds)
    np.testing.assert_allclose(found.action, _env(_best(actions, q)), atol=1e-4)
    np.testing.assert_allclose(found.info.q_value, q.max(-1), atol=1e-4)
    np.testing.assert_allclose(found.info.value, value, atol=1e-4)
    spread = np.sqrt(actions.var(1).mean(-1))
    np.testing.assert_allclose(found.info.action_spread, spread, atol=1e-4)
    assert len(set(q.argmax(-1) // N)) == len(networks[1].seeds), "each wins somewhere"


def test_a_stack_acts_only_where_it_is_pooled():
    with pytest.raises(UserError, match="stack of 2 seeds; expected one .*pooled=True"):
        make_policy(networks=STACK)


@pytest.mark.parametrize("method", ["argmax", "implicit", "softmax"])
def test_distribution_is_that_of_the_weighted_candidates(method):
    tf.random.set_seed(11)
    found = make_policy(method, temperature=2.0).distribution(STEP).action
    tf.random.set_seed(11)  # the same draw that an unseeded call makes
    words = tf.random.uniform([2], tf.int64.min, tf.int64.max, tf.int64)
    actions, q, value = _drawn(words)
    u = q - value[:, None]
    raw = {
        "argmax": np.eye(N)[q.argmax(-1)],
        "implicit": np.where(u > 0, 0.9, 0.1),
        "softmax": np.exp(2 * u),
    }[method]
    p, points = (raw / raw.sum(-1, keepdims=True))[..., None], _env(actions)
    mean = (p * points).sum(1)
    assert np.abs(mean - points.mean(1)).max() > 0.01
    np.testing.assert_allclose(found.mean(), mean, atol=1e-4)
    # Candidates that were clipped into the same corner are one point.
    same = (points[:, :, None] == points[:, None]).all(-1)
    together = (same * raw[:, None]).sum(-1)
    np.testing.assert_allclose(found.mode(), _best(points, together), atol=1e-4)
    samples = found.sample(4_000, seed=1).numpy()
    assert (samples >= LOW).all() and (samples <= HIGH).all()
    distance = np.abs(samples[:, :, None] - points).max(-1).min(-1)
    assert distance.max() < 1e-4, "only candidates are drawn"
    stddev = np.sqrt((p * (points - mean[:, None]) ** 2).sum(1))
    assert (np.abs(samples.mean(0) - mean) <= 5 * stddev / 4_000**0.5 + 1e-4).all()
    np.testing.assert_allclose(samples.std(0), stddev, atol=0.03)


def test_what_informs_has_no_distribution():
    with pytest.raises(NotImplementedError, match="leave emit_info out"):
        make_policy("implicit", emit_info=True).distribution(STEP)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_safe_action_is_taken_where_an_observation_is_not_finite(bad):
    broken, rest = OBSERVATIONS.numpy(), [0, 1, 3, 4, 6]
    broken[[2, 5], 1] = bad
    policy = make_policy(safe_action=(-1.0, 1.25), emit_info=True)
    plain = make_policy(emit_info=True).action(STEP, seed=3)
    found, whole = (policy.action(s, seed=3) for s in (make_step(broken), STEP))
    np.testing.assert_array_equal(found.action.numpy()[[2, 5]], [[-1.0, 1.25]] * 2)
    assert np.isnan(np.array(found.info)[:, [2, 5]]).all()
    for ours, *both in zip(*map(tf.nest.flatten, (found, whole, plain)), strict=True):
        np.testing.assert_array_equal(ours.numpy()[rest], both[0].numpy()[rest])
        np.testing.assert_array_equal(*both)
    for act in (make_policy().action, tf.function(make_policy().action)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"row\W+2\b"):
            act(make_step(broken))


@pytest.mark.parametrize("safe", [(0.0,), (0.0,) * 3, (-1.0, 1.5), (np.nan, 0.0)])
def test_a_safe_action_must_be_an_action(safe):
    with pytest.raises(UserError, match="safe_action is .*expected 2 numbers within"):
        make_policy(safe_action=safe)


def _select(**options):
    constants = {name: tf.constant(value) for name, value in options.items()}
    return make_policy("implicit").select(OBSERVATIONS, 3, **constants)


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"num_candidates": 0, "temperature": 0.0}, ("implicit",)),
        ({"num_candidates": 3, "temperature": 0.0}, ("implicit", 3)),
        ({"num_candidates": 0, "temperature": 3.0}, ("softmax",)),
        ({"num_candidates": 64, "temperature": 3.0}, ("softmax", 64)),
        ({"num_candidates": 3}, ("implicit", 3)),
        ({"temperature": 3.0}, ("softmax",)),
    ],
)
def test_select_takes_options(options, same):
    expected = make_policy(*same, temperature=3.0).select(OBSERVATIONS, 3)
    for ours, theirs in zip(_select(**options), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("wrong", [(-1, 0.0), (0, -1.0)])
def test_select_refuses_negative_options(wrong):
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected num_candidates"):
        _select(num_candidates=wrong[0], temperature=wrong[1])


@pytest.mark.parametrize("seed", [1.5, "a", (1, 2, 3), [[]], None.__class__])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(UserError, match="seed is .*expected an integer or a pair"):
        make_policy().select(OBSERVATIONS, seed)


@pytest.mark.parametrize("temperature", ["2", -1.0, float("inf"), float("nan")])
def test_what_is_no_temperature_is_refused_at_once(temperature):
    with pytest.raises(UserError, match="the temperature of softmax extraction is"):
        make_policy("softmax", temperature=temperature)


def test_one_program_serves_all_batch_sizes_and_seeds(monkeypatch):
    traces, propose = [], extraction.propose

    def counted(*args):
        traces.append(args)
        return propose(*args)

    monkeypatch.setattr(extraction, "propose", counted)
    policy = make_policy.__wrapped__("argmax", 2)
    act, steps = (
        tf.function(policy.action),
        [make_step(make_observations(n)) for n in (1, 7)],
    )
    for i in range(1_000):
        assert act(steps[i % 2]).action.shape == ((1, 7)[i % 2], A)
    assert act.experimental_get_tracing_count() <= 2
    for i in range(100):
        policy.action(steps[i % 2], seed=(i, i) if i % 3 else i)
    assert len(traces) == 1


def test_variables_are_those_that_act():
    parts = CRITIC.target_q, CRITIC.value, BEHAVIOR.average
    expected = {id(variable) for part in parts for variable in part.variables}
    policy = make_policy()
    # By TF-Agents' method, and by what a checkpoint or an export can reach.
    for found in (policy.variables(), tf.Module.variables.fget(policy)):
        assert len(found) == len(expected) == len(expected & set(map(id, found)))
