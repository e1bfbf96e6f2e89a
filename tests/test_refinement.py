"""Refinement against its own definition in NumPy, and what it may never do."""

import gin
import numpy as np
import pytest
import tensorflow as tf
import tiny_policies as tiny

from idql_tf import config, extraction, refinement
from idql_tf.errors import UserError
from idql_tf.nn import randomness

S, B, N, A = 2, 5, 16, 2
KEYS = randomness.keys(tf.constant([3, 4], tf.int64), "refinement", 0)
PEAK = np.float32([0.9, -0.35])


def _two_modes():
    """Candidates around (0.4, 0.4) and around (-0.4, -0.4), clipped."""
    rng = np.random.default_rng(0)
    sign = np.where(rng.random((S, B, N, 1)) < 0.5, 1.0, -1.0)
    drawn = sign * (0.4 + 0.1 * rng.normal(size=(S, B, N, A)))
    return np.clip(drawn, -1, 1).astype(np.float32)


def _values(actions):
    return -tf.reduce_sum(tf.square(actions - PEAK), -1)


def _refine(actions, **changes):
    settings = refinement.Settings(**changes)
    q = _values(tf.constant(actions))
    found = refinement.refine(tf.constant(actions), q, _values, KEYS, settings)
    return [x.numpy() for x in found]


def _neighborhood(actions, centre, count):
    """Of one observation: actions [N, A]."""
    nearest = np.argsort(((actions - centre) ** 2).sum(-1), kind="stable")[:count]
    local = np.sqrt(((actions[nearest] - centre) ** 2).mean(0))
    return np.minimum(local, actions.std(0))


def _numpy(actions, noise, iterations, num_elites, floor, trust):
    """The method for one observation: actions [N, A], noise [iterations, N, A]."""

    def q(a):
        return -((a - PEAK) ** 2).sum(-1)

    best = centre = actions[q(actions).argmax()]
    first = deviation = _neighborhood(actions, centre, num_elites)
    mean = centre
    for k in range(iterations):
        drawn = mean + deviation * noise[k]
        drawn = np.clip(drawn, centre - trust * first, centre + trust * first)
        drawn = np.clip(drawn, -1, 1)
        elites = drawn[np.argsort(-q(drawn), kind="stable")[:num_elites]]
        best = elites[0] if q(elites[0]) > q(best) else best
        mean = elites.mean(0)
        deviation = np.maximum(elites.std(0), floor * first)
    return best


@pytest.mark.parametrize("iterations", [1, 3])
def test_it_is_the_cross_entropy_method_in_a_box(iterations):
    actions = _two_modes()
    found, q = _refine(actions, iterations=iterations, noise_floor=0.7, trust=1.5)
    noise = randomness.normal(KEYS, [iterations, B, N, A]).numpy()
    for s in range(S):
        for b in range(B):
            arguments = actions[s, b], noise[s, :, b], iterations, 4, 0.7, 1.5
            np.testing.assert_allclose(found[s, b], _numpy(*arguments), atol=1e-5)
    np.testing.assert_allclose(q, _values(found), atol=1e-6)


@pytest.mark.parametrize("trust", [0.0, 0.3, 1.0, 100.0])
def test_it_stays_in_its_box_and_never_falls_below_the_best_candidate(trust):
    actions = _two_modes()
    found, q = _refine(actions, trust=trust, iterations=20, noise_floor=1.0)
    best = np.asarray(_values(actions))
    index = best.argmax(-1)
    gain = q - best.max(-1)
    assert (gain >= 0).all() and (gain > 0).all() == (trust > 0)
    centre = np.take_along_axis(actions, index[..., None, None], 2)[:, :, 0]
    for s in range(S):
        for b in range(B):
            reach = trust * _neighborhood(actions[s, b], centre[s, b], 4)
            assert (np.abs(found[s, b] - centre[s, b]) <= reach + 1e-6).all()
    assert np.abs(found).max() <= 1.0
    if trust == 100.0:
        # Free to go anywhere, it leaves its mode for the critic's peak.
        assert np.abs(centre - PEAK).max(-1).min() > 0.3
        assert np.abs(found - PEAK).max() < 0.2


def test_the_box_does_not_reach_from_mode_to_mode():
    """Even where the critic's peak lies between them, and N draws know of both."""
    actions = _two_modes()
    found, _ = _refine(actions, iterations=10)
    distance = np.abs(actions - found[:, :, None]).max(-1).min(-1)
    assert distance.max() < 0.15
    # An outlier's neighbours are far; what counts then is the spread of all.
    alone = np.float32(0.02 * np.random.default_rng(1).normal(size=(1, 1, N, 1)))
    alone[..., 0, :] = 0.9
    width = refinement.neighborhood(tf.constant(alone), tf.constant(alone[:, :, :1]), 4)
    np.testing.assert_allclose(width[0, 0, 0], alone.std(2)[0, 0], rtol=1e-5)


def _extract(method, networks, **options):
    observations = tf.stack([tiny.OBSERVATIONS] * 2)
    seeds = tf.constant([3, 4], tf.int64)
    return extraction.extract(*networks, observations, seeds, 5, method, 8, **options)


@pytest.mark.parametrize("pooled", [False, True])
def test_extraction_gains_on_argmax_of_the_same_draws(pooled):
    best = _extract("argmax", tiny.STACK, pooled=pooled)
    found = _extract("cem", tiny.STACK, pooled=pooled)
    gain = found.q_value - best.q_value
    assert gain.shape == [1 if pooled else 2, tiny.B]
    # Nothing is gained where the best candidate is a corner of the action space.
    assert (gain.numpy() >= 0).all() and (gain.numpy() > 0.01).mean() > 0.3
    assert np.abs(found.action).max() <= 1.0
    for ours, theirs in ((found.value, best.value), (found.spread, best.spread)):
        np.testing.assert_array_equal(ours, theirs)
    # What it calls the action's Q is the critic's, of every member.
    critic = tiny.STACK[0]
    actions = tf.concat([found.action] * (2 if pooled else 1), 0)
    observations = tf.stack([tiny.OBSERVATIONS] * 2)
    q = tf.reduce_min(critic.target_q(observations, actions), axis=1)
    q = tf.reduce_mean(q, 0, keepdims=True) if pooled else q
    np.testing.assert_allclose(found.q_value, q, atol=1e-5)


def test_a_policy_refines_and_its_distribution_is_one_point():
    policy = tiny.make_policy("cem", networks=tiny.STACK, pooled=True)
    few = policy.select(tiny.OBSERVATIONS, 3, tf.constant(2))
    assert few.action.shape == [tiny.B, tiny.A], "N may be decided at the call"
    tf.random.set_seed(2)
    point = policy.distribution(tiny.STEP).action
    tf.random.set_seed(2)
    expected = policy.action(tiny.STEP).action
    np.testing.assert_array_equal(point.mode(), expected)
    np.testing.assert_array_equal(point.sample(2, seed=1), tf.stack([expected] * 2))


@pytest.mark.parametrize(
    "binding",
    [
        "refine.iterations = 0",
        "refine.elite_fraction = 1.5",
        "refine.noise_floor = -0.1",
        "refine.trust = 'wide'",
    ],
)
def test_numbers_that_are_none_are_refused_before_anything_runs(binding):
    config.load([], [binding])
    with pytest.raises(UserError, match=f"{binding.split()[0]} is .*expected"):
        extraction.check_method("cem", 4)
    extraction.check_method("argmax", 4)
    gin.clear_config()
