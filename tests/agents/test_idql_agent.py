import gin
import numpy as np
import pytest
import tensorflow as tf
import tiny_learner
from experience import (
    ACTION,
    F32,
    FIRST,
    GOAL,
    LAST,
    MID,
    OBSERVATION,
    A,
    B,
    D,
    make_batch,
    make_rows,
    q_loss,
    trajectory,
)
from tf_agents.drivers.dynamic_step_driver import DynamicStepDriver
from tf_agents.environments.random_py_environment import RandomPyEnvironment
from tf_agents.environments.tf_py_environment import TFPyEnvironment
from tf_agents.replay_buffers.tf_uniform_replay_buffer import TFUniformReplayBuffer
from tf_agents.specs import BoundedTensorSpec, tensor_spec
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import common

from idql_tf import config
from idql_tf.agents import IdqlAgent, IdqlLossInfo
from idql_tf.behavior.updates import Behavior
from idql_tf.critic.updates import Critic
from idql_tf.errors import UserError

# Ordinary ops where XLA would compile for every size of batch; with dropout.
BINDINGS = (
    *tiny_learner.BINDINGS,
    "LnResnet.activation = 'relu'",
    "LnResnet.layer_norm = False",
    "LnResnet.num_blocks = 1",
)


@pytest.fixture(autouse=True)
def _clear():
    gin.clear_config()
    yield
    gin.clear_config()


def _agent(observation=OBSERVATION, **options):
    gin.parse_config(BINDINGS)
    counter = tf.Variable(0, dtype=tf.int64)
    specs = ts.time_step_spec(observation), ACTION
    made = IdqlAgent(*specs, 4, train_step_counter=counter, **options)
    gin.clear_config()
    return made


def _state(agent):
    return tiny_learner.state(agent.critic) + tiny_learner.state(agent.behavior)


def _same(ours, theirs):
    tiny_learner.assert_same(_state(ours), _state(theirs))


def _differs(ours, theirs):
    return any((x != y).any() for x, y in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("updates", "critic_rows", "shares"),
    [
        (1, None, [(0, 7)]),
        (2, None, [(0, 3), (3, 7)]),
        (3, 4, [(0, 2), (2, 4), (4, 7)]),
        (0, None, []),
    ],
)
def test_training_is_the_updates_of_the_learner(updates, critic_rows, shares):
    gin.parse_config(BINDINGS)
    config.add_defaults()
    critic, behavior = Critic(D, A, (3,)), Behavior(D, A, (3,))
    counts = {"num_behavior_updates": updates, "critic_batch_size": critic_rows}
    agent = _agent(seed=3, **counts)
    for i in range(2):
        rows = make_rows(i)
        info = agent.train(trajectory(rows))
        metrics = critic.update(make_batch(rows, 0, critic_rows))
        losses = [0.0] * (not shares)
        for share in shares:
            part = make_batch(rows, *share)
            losses.append(behavior.update(part.observations, part.actions)["loss"][0])
        metrics = {name: value[0] for name, value in metrics.items()}
        metrics["behavior_loss"] = np.mean(losses)
        assert isinstance(info.extra, IdqlLossInfo)
        for name, value in info.extra._asdict().items():
            np.testing.assert_allclose(value, metrics.pop(name), rtol=1e-5)
        assert not metrics and int(agent.train_step_counter) == i + 1
        total = info.extra.v_loss + info.extra.q_loss + info.extra.behavior_loss
        np.testing.assert_allclose(info.loss, total, rtol=1e-6)
    ours = tiny_learner.state(critic) + tiny_learner.state(behavior)
    tiny_learner.assert_same(_state(agent), ours, atol=1e-6)


def test_a_batch_smaller_than_its_shares_is_refused():
    agent, two_rows = _agent(num_behavior_updates=3), trajectory(make_rows(size=2))
    before = _state(agent)
    with pytest.raises(UserError, match="batch of 2 .* 3 behaviour updates; expected"):
        agent.train(two_rows)
    tiny_learner.assert_same(before, _state(agent))
    agent = _agent(num_behavior_updates=2)
    assert np.isfinite(agent.train(two_rows).loss)


@pytest.mark.parametrize(("updates", "size"), [(0, 0), (2, 0), (3, 2)])
def test_a_small_batch_of_unknown_size_changes_nothing(updates, size):
    agent, before = _agent(num_behavior_updates=updates), _state(_agent())
    rows = trajectory({k: v[:size] for k, v in make_rows().items()})
    unknown = tf.nest.map_structure(
        lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), rows
    )
    train = tf.function(agent.train, input_signature=[unknown], autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="fewer rows"):
        train(rows)
    tiny_learner.assert_same(before, _state(agent))


NUMBERS = ("observation", "action", "reward", "discount", "next_observation")


# A large action is clipped to its bound, as any other.
@pytest.mark.parametrize(
    ("name", "bad"),
    [
        (name, bad)
        for name in NUMBERS
        for bad in (np.nan, np.inf, 1e10)
        if name != "action" or np.isnan(bad)
    ],
)
def test_a_batch_that_is_not_finite_is_refused_and_changes_nothing(name, bad):
    agent, rows = _agent(), make_rows()
    before = _state(agent)
    rows[name][3] = bad
    for train in (agent.train, common.function(agent.train)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="not finite"):
            train(trajectory(rows))
    tiny_learner.assert_same(before, _state(agent))


def test_an_empty_batch_and_weights_of_another_shape_are_refused():
    agent = _agent(num_behavior_updates=0)
    before = _state(agent)
    with pytest.raises(UserError, match="batch of 0 rows"):
        agent.train(trajectory({k: v[:0] for k, v in make_rows().items()}))
    with pytest.raises(UserError, match="weights have the shape .*one number"):
        agent.train(trajectory(make_rows()), weights=tf.ones([B, 2]))
    tiny_learner.assert_same(before, _state(agent))


def _with_boundaries(scale):
    """Rows 2 and 5 lead into the next episode; they hold numbers of that scale."""
    rows = make_rows()
    rows["step_type"][[2, 5]], rows["next_step_type"][[2, 5]] = LAST, FIRST
    rng = np.random.default_rng(9)
    for name in NUMBERS:
        shape = rows[name][[2, 5]].shape
        rows[name][[2, 5]] = rng.uniform(-scale, scale, shape)
    return rows


def test_what_a_boundary_holds_changes_nothing():
    agents = [_agent() for _ in range(3)]
    for _ in range(2):
        for agent, scale in zip(agents, (1e-2, 1.0, 1e6), strict=True):
            info = agent.train(trajectory(_with_boundaries(scale)))
            assert np.isfinite(info.loss)
    _same(agents[0], agents[1])
    _same(agents[0], agents[2])


def test_boundaries_count_as_rows_of_no_loss():
    """Five rows and two boundaries: the five rows' gradients, times 5 / 7."""
    kept = [0, 1, 3, 4, 6]
    rows = _with_boundaries(1e3)
    with_them, without = _agent(), _agent()
    only = trajectory({name: part[kept] for name, part in rows.items()})
    ours, theirs = with_them.loss(trajectory(rows)).extra, without.loss(only).extra
    for name in ("v_loss", "q_loss"):
        loss = getattr(theirs, name)
        np.testing.assert_allclose(getattr(ours, name), 5 / 7 * loss, rtol=1e-5)
    with_them.train(trajectory(rows))
    without.train(only)
    # After one step Adam's first moment is a tenth of the gradient.
    for name in ("value_optimizer", "q_optimizer"):
        ours, theirs = (getattr(a.critic, name).first for a in (with_them, without))
        assert max(np.abs(x).max() for x in theirs) > 1e-3
        for x, y in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(x, 5 / 7 * y, atol=1e-6)


def test_weights_multiply_losses():
    experience = trajectory(make_rows())
    agent, fresh = _agent(), _agent()
    agent.train(experience, weights=tf.zeros([B]))
    # Nothing moved but the steps counted by the three optimizers.
    both = _state(agent), _state(fresh)
    moved = [x.shape for x, y in zip(*both, strict=True) if (x != y).any()]
    assert moved == [()] * 3
    plain = fresh.loss(experience)
    for weights in (tf.fill([B], 2.0), tf.constant(2.0)):
        doubled = fresh.loss(experience, weights=weights)
        np.testing.assert_allclose(doubled.loss, 2 * plain.loss, rtol=1e-5)
    # A row of weight zero is as good as a boundary.
    mask = tf.constant([1.0, 1, 0, 1, 1, 0, 1])
    weighted, bounded = _agent(), _agent()
    rows = _with_boundaries(1.0)
    bounded.train(trajectory(rows), weights=tf.ones([B]))
    rows["step_type"][[2, 5]], rows["next_step_type"][[2, 5]] = MID, MID
    weighted.train(trajectory(rows), weights=mask)
    _same(weighted, bounded)
    fresh.train(trajectory(rows))
    assert _differs(_state(fresh), _state(weighted))


@pytest.mark.parametrize(("discount", "bootstraps"), [(0.0, False), (1.0, True)])
def test_the_discount_decides_on_bootstrapping(discount, bootstraps):
    """A truncation is a LAST step like a termination; only its discount differs."""
    fixed = {"discount": [discount] * B, "next_step_type": [LAST] * B}
    here, there = _agent(), _agent()
    here.train(trajectory(make_rows(**fixed)))
    there.train(trajectory(make_rows(**fixed, next_observation=np.ones((B, D)))))
    assert _differs(_state(here), _state(there)) == bootstraps
    found = here.loss(trajectory(make_rows(**fixed))).extra.q_loss
    np.testing.assert_allclose(found, q_loss(here, 0.99 * discount), rtol=1e-5)


def test_loss_changes_nothing_and_is_what_training_reports():
    agent, experience = _agent(num_behavior_updates=1), trajectory(make_rows())
    agent.train(trajectory(make_rows(1)))
    before = _state(agent)
    evaluated, trained = (agent.loss(experience, training=x) for x in (False, True))
    tiny_learner.assert_same(before, _state(agent))
    assert int(agent.train_step_counter) == 1
    averaged = agent.behavior.loss(
        agent.behavior.average, *make_batch(make_rows())[:2], 1, training=False
    )
    np.testing.assert_allclose(evaluated.extra.behavior_loss, averaged[0], rtol=1e-5)
    info = agent.train(experience).extra
    for name in ("v_loss", "behavior_loss", "q_mean", "v_mean", "advantage_stddev"):
        assert getattr(info, name) == getattr(trained.extra, name), name
    assert evaluated.extra.behavior_loss != trained.extra.behavior_loss


@pytest.mark.parametrize("keys", [None, ("desired_goal", "observation")])
def test_goal_environments_train_as_their_flat_observations(keys):
    spec = {key: tf.TensorSpec([size], F32) for key, size in sorted(GOAL.items())}
    ours = _agent(observation=spec, observation_keys=keys)
    kept = keys or [*GOAL]
    flat_spec = BoundedTensorSpec([sum(GOAL[key] for key in kept)], F32, -1.0, 1.0)
    theirs, experience = _agent(observation=flat_spec), trajectory(make_rows())
    parts = tf.split(experience.observation, list(GOAL.values()), axis=-1)
    goal = dict(zip(GOAL, parts, strict=True))
    flat = tf.concat([goal[key] for key in kept], -1)
    ours.train(experience._replace(observation=goal))
    theirs.train(experience._replace(observation=flat))
    _same(ours, theirs)
    goal = {key: value[:, 0] for key, value in goal.items()}
    steps = [ts.restart(observation, B) for observation in (goal, flat[:, 0])]
    policies = ours.collect_policy, theirs.collect_policy
    both = zip(policies, steps, strict=True)
    first, second = (policy.action(step, seed=1).action for policy, step in both)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_policies_choose_as_they_are_told():
    agent = _agent(extraction="softmax", collect_extraction="argmax")
    assert (agent.policy.extraction, agent.policy.num_candidates) == ("softmax", 4)
    assert agent.collect_policy.extraction == "argmax"
    agent = _agent()
    assert agent.policy.extraction == "argmax"
    assert agent.collect_policy.extraction == "implicit"


@pytest.mark.parametrize(
    "options",
    [
        {"num_behavior_updates": -1},
        {"num_behavior_updates": 1.5},
        {"critic_batch_size": 0},
        {"critic_batch_size": "8"},
        {"seed": None},
        {"seed": -1},
    ],
)
def test_wrong_numbers_are_refused(options):
    with pytest.raises(
        UserError, match=f"{[*options][0]} is .*expected an integer >= "
    ):
        _agent(**options)


@pytest.mark.parametrize("by_tf_agents", [False, True])
def test_a_restored_agent_goes_on_as_if_never_stopped(tmp_path, by_tf_agents):
    def checkpointer(agent):
        if by_tf_agents:
            return common.Checkpointer(str(tmp_path), max_to_keep=1, agent=agent)
        made = tf.train.Checkpoint(agent=agent)
        return tf.train.CheckpointManager(made, str(tmp_path), max_to_keep=1)

    def train(agent, first, last):
        for i in range(first, last):
            agent.train(trajectory(make_rows(i)))

    whole = _agent(seed=1)
    train(whole, 0, 3)
    saver = checkpointer(whole)
    saver.save(3)
    train(whole, 3, 5)
    other = _agent(seed=1)
    train(other, 7, 8)
    restorer = checkpointer(other)
    if not by_tf_agents:
        status = restorer.checkpoint.restore(restorer.latest_checkpoint)
        status.assert_consumed()
    assert int(other.train_step_counter) == 3
    train(other, 3, 5)
    _same(whole, other)
    assert int(other.train_step_counter) == 5


def test_collected_steps_go_through_a_replay_buffer_into_training():
    observation, action = map(tensor_spec.to_array_spec, (OBSERVATION, ACTION))
    environment = TFPyEnvironment(
        RandomPyEnvironment(observation, action, episode_end_probability=0.3, seed=0)
    )
    agent = _agent()
    agent.initialize()
    buffer = TFUniformReplayBuffer(agent.collect_data_spec, 1, 100)
    collect = environment, agent.collect_policy, [buffer.add_batch]
    DynamicStepDriver(*collect, num_steps=40).run()
    data = iter(buffer.as_dataset(sample_batch_size=32, num_steps=2))
    train, before = common.function(agent.train), _state(agent)
    for _ in range(3):
        experience, _ = next(data)
        assert np.any(experience.is_boundary()[:, 0])
        assert np.isfinite(train(experience).loss)
    assert int(agent.train_step_counter) == 3
    assert _differs(before, _state(agent))
