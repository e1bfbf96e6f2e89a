"""The policy, its specs and the agent where actions are numbers of a discrete space."""

import gin
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.specs import BoundedTensorSpec
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories.trajectory import Trajectory
from tiny_policies import ONE, make_observations, make_step

from idql_tf import config, extraction
from idql_tf.agents import IdqlAgent
from idql_tf.behavior.categorical import CategoricalBehavior
from idql_tf.critic.objectives import Expectile
from idql_tf.critic.updates import Critic
from idql_tf.errors import UserError
from idql_tf.policies import IdqlPolicy
from idql_tf.policies.spaces import Spaces
from idql_tf.policies.weighted_points import WeightedPoints

D, A, B, N, START = 3, 4, 7, 8, -1
TIME_STEP = ts.time_step_spec(tf.TensorSpec([D], tf.float32))
ACTION = BoundedTensorSpec([], tf.int32, START, START + A - 1)
OBSERVATIONS = make_observations(B)


def _networks():
    critic = Critic(D, A, (0,), Expectile(0.9), (8, 8), 2, 0.99, 3e-4, 0.005)
    behavior = CategoricalBehavior(D, A, (0,), (8,), 3e-4, None, 0.0, 0.001)
    rng = np.random.default_rng(5)
    for variable in (*critic.trainable_variables, *behavior.trainable_variables):
        variable.assign(0.8 * rng.normal(size=variable.shape))
    return critic, behavior


NETWORKS = _networks()


def _policy(method="argmax", n=N, **options):
    return IdqlPolicy(TIME_STEP, ACTION, *NETWORKS, n, method, **options)


def _candidates(n=N):
    none, step = tf.constant([0], tf.int64), tf.constant(0, tf.int64)
    return extraction.draw_candidates(*NETWORKS, OBSERVATIONS[None], none, step, n)


def test_numbers_and_one_hot_actions():
    spaces = Spaces(TIME_STEP.observation, ACTION)
    assert spaces.discrete and spaces.action_size == A
    numbers = np.array([[-1, 0], [2, 1]])
    np.testing.assert_array_equal(
        spaces.to_unit_action(numbers), np.eye(A)[numbers + 1]
    )
    back = spaces.to_env_action(np.float32(0.9 * np.eye(A)[numbers + 1]))
    np.testing.assert_array_equal(back, numbers)
    assert back.dtype == tf.int32


def test_it_acts_with_the_number_of_the_best_plausible_action():
    policy = _policy(emit_info=True)
    found = policy.action(make_step(OBSERVATIONS), seed=3)
    drawn = _candidates()
    expected = extraction.pick(drawn, extraction.best(drawn))
    assert found.action.dtype == tf.int32 and found.action.shape == [B]
    np.testing.assert_array_equal(
        found.action, expected.action[0].numpy().argmax(-1) + START
    )
    np.testing.assert_allclose(found.info.q_value, expected.q_value[0], rtol=1e-5)
    valued = policy.q_value(OBSERVATIONS, found.action)
    np.testing.assert_allclose(valued, expected.q_value[0], rtol=1e-5)


@pytest.mark.parametrize("method", ["argmax", "implicit"])
def test_its_distribution_is_over_the_numbers(method):
    distribution = _policy(method).distribution(make_step(OBSERVATIONS)).action
    drawn = _candidates()
    if method == "argmax":
        p = np.eye(A)[extraction.best(drawn)[0]]
    else:
        p = extraction.probabilities(method, drawn, NETWORKS[0])[0]
    numbers = tf.range(START, START + A)[:, None]
    found = tf.exp(distribution.log_prob(tf.tile(numbers, [1, B])))
    np.testing.assert_allclose(tf.transpose(found), p, atol=1e-5)
    np.testing.assert_array_equal(distribution.mode(), np.argmax(p, -1) + START)
    drawn = distribution.sample(400, seed=1).numpy()
    frequency = np.stack([(drawn == START + a).mean(0) for a in range(A)], -1)
    np.testing.assert_allclose(frequency, p, atol=0.12)


def test_a_safe_action_is_one_number():
    rows = OBSERVATIONS.numpy()
    rows[2] = np.nan
    found = _policy(safe_action=[2]).select(tf.constant(rows), 0)
    expected = extraction.best(_candidates())[0].numpy() + START
    expected[2] = 2
    np.testing.assert_array_equal(found.action, expected)
    assert np.isnan(found.q_value).tolist() == [row == 2 for row in range(B)]
    for bad in ([3], [0.5], [0, 1]):
        with pytest.raises(UserError, match="expected 1 whole numbers within"):
            _policy(safe_action=bad)


def test_the_mode_of_an_ensemble_adds_its_members_weights():
    points = tf.constant([[0, 1, 0, 1]])
    distribution = WeightedPoints(points, tf.constant([[0.3, 0.25, 0.2, 0.25]]))
    assert distribution.mode().numpy().tolist() == [0]
    # The largest single weight is not the largest sum.
    distribution = WeightedPoints(points, tf.constant([[0.4, 0.3, 0.0, 0.3]]))
    assert distribution.mode().numpy().tolist() == [1]


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="these are discrete"):
        _policy("cem")
    with pytest.raises(UserError, match="spec is discrete, the behaviour model diff"):
        two = BoundedTensorSpec([], tf.int64, 0, 1)
        IdqlPolicy(TIME_STEP, two, *ONE, N)
    unbounded = BoundedTensorSpec([], tf.int64, 0, np.iinfo(np.int64).max)
    with pytest.raises(UserError, match="expected 2 to 10,000 actions"):
        Spaces(TIME_STEP.observation, unbounded)


def test_the_agent_takes_discrete_specs():
    config.load(
        [], ["Critic.hidden_dims = (8,)", "CategoricalBehavior.hidden_dims = (8,)"]
    )
    agent = IdqlAgent(TIME_STEP, ACTION, N, train_step_counter=tf.Variable(0))
    gin.clear_config()
    rng = np.random.default_rng(0)
    taken = rng.integers(START, START + A, (B, 2)).astype(np.int32)
    batch = Trajectory(
        step_type=tf.ones([B, 2], tf.int32),
        observation=tf.constant(rng.normal(size=(B, 2, D)), tf.float32),
        action=tf.constant(taken),
        policy_info=(),
        next_step_type=tf.ones([B, 2], tf.int32),
        reward=tf.ones([B, 2]),
        discount=tf.ones([B, 2]),
    )
    logits = agent.behavior.average(batch.observation[None, :, 0])[0]
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(taken[:, 0] - START, logits)
    found = agent.loss(batch).extra
    np.testing.assert_allclose(found.behavior_loss, tf.reduce_mean(loss), rtol=1e-5)
    before = [v.numpy() for v in agent.behavior.network.trainable_variables]
    agent.train(batch)
    for old, new in zip(
        before, agent.behavior.network.trainable_variables, strict=True
    ):
        assert (old != new.numpy()).any()
    action = agent.collect_policy.action(make_step(OBSERVATIONS)).action
    assert action.dtype == tf.int32
    assert ((action >= START) & (action < START + A)).numpy().all()
