import gin
import numpy as np
import pytest
import tensorflow as tf
import tiny_learner as tiny

from idql_tf.critic.updates import CriticBatch
from idql_tf.errors import UserError

# XLA, which a CPU leaves off, takes a minute to compile these.
GRAPH, XLA = "IdqlLearner.xla = False", "IdqlLearner.xla = True"
MODES = [GRAPH, pytest.param(XLA, marks=pytest.mark.slow)]


@pytest.mark.parametrize("mode", MODES)
def test_one_block_equals_many_of_one(mode):
    arrays = tiny.arrays()
    once, often = tiny.learner((3,), mode), tiny.learner((3,), mode)
    once.train(arrays, 50, 50)
    for _ in range(50):
        often.train(arrays, 1, 1)
    tiny.assert_same(tiny.state(once), tiny.state(often))


@pytest.mark.parametrize("mode", MODES)
def test_a_stack_of_three_equals_three_single_runs(mode):
    arrays = tiny.arrays()
    stack = tiny.learner((3, 5, 11), mode)
    stack.train(arrays, 40, 60)
    for member, seed in enumerate((3, 5, 11)):
        alone = tiny.learner((seed,), mode)
        alone.train(arrays, 40, 60)
        for many, one in zip(stack.variables, alone.variables, strict=True):
            if many.shape.rank and many.shape[0] == 3:
                np.testing.assert_allclose(many[member], one[0], rtol=0, atol=1e-6)
            else:
                np.testing.assert_array_equal(many, one)


WEIGHTED = (
    GRAPH,
    "IdqlLearner.behavior = @GaussianBehavior",
    "IdqlLearner.behavior_weight = @ExponentialAdvantage()",
    "GaussianBehavior.hidden_dims = (16,)",
)


def test_weighted_updates_follow_the_critic_step_by_step():
    arrays = tiny.arrays()
    once, often = tiny.learner((3,), *WEIGHTED), tiny.learner((3,), *WEIGHTED)
    once.train(arrays, 20, 40)
    for _ in range(20):
        often.train(arrays, 1, 2)
    tiny.assert_same(tiny.state(once), tiny.state(often))
    stack = tiny.learner((3, 5), *WEIGHTED)
    stack.train(arrays, 20, 40)
    for many, one in zip(stack.variables, once.variables, strict=True):
        if many.shape.rank and many.shape[0] == 2:
            np.testing.assert_allclose(many[0], one[0], rtol=0, atol=1e-6)
    # The critic does not know of it, and the weights do matter.
    plain = tiny.learner((3,), *WEIGHTED[:2], *WEIGHTED[3:])
    plain.train(arrays, 20, 40)
    tiny.assert_same(tiny.state(plain.critic), tiny.state(once.critic))
    before, after = (tiny.state(m.behavior.network) for m in (plain, once))
    assert max(np.abs(a - b).max() for a, b in zip(before, after, strict=True)) > 1e-3


@pytest.mark.parametrize(
    "binding",
    [
        "IdqlLearner.behavior = @Critic",
        "IdqlLearner.behavior = 3",
        "IdqlLearner.behavior_weight = @SoftAdvantage",
        "IdqlLearner.behavior_weight = @Expectile()",
        "Critic.objective = @Exponential",
    ],
)
def test_parts_that_do_not_fit_are_refused(binding):
    with pytest.raises(UserError, match=f"{binding.split()[0]} is .*; expected"):
        tiny.learner((3,), binding)
    gin.clear_config()


def test_weighted_behavior_updates_need_no_critic_update():
    made = tiny.learner((3,), *WEIGHTED)
    metrics = made.train(tiny.arrays(), 0, 3)
    assert set(metrics) == {"behavior/loss"} and int(made.behavior_step) == 3


@pytest.mark.slow
def test_xla_and_graph_mode_train_alike():
    arrays = tiny.arrays()
    graph, xla = (tiny.learner((3,), mode) for mode in (GRAPH, XLA))
    for made in (graph, xla):
        made.train(arrays, 20, 20)
    # Adam turns the rounding of a vanishing gradient into a visible step, so the
    # bound is a fraction of the 20 x 3e-4 that a weight can move.
    tiny.assert_same(tiny.state(graph), tiny.state(xla), rtol=1e-4, atol=5e-4)


def test_critic_and_behavior_do_not_touch_each_other():
    arrays, made = tiny.arrays(), tiny.learner((0,))
    critic, behavior = tiny.state(made.critic), tiny.state(made.behavior)
    made.train(arrays, 0, 5)
    tiny.assert_same(critic, tiny.state(made.critic))
    assert (int(made.critic_step), int(made.behavior_step)) == (0, 5)
    behavior = tiny.state(made.behavior)
    made.train(arrays, 7, 0)
    tiny.assert_same(behavior, tiny.state(made.behavior))
    assert (int(made.critic_step), int(made.behavior_step)) == (7, 5)


def test_validation_changes_nothing_and_repeats():
    arrays, made = tiny.arrays(), tiny.learner((0, 1))
    made.train(arrays, 10, 10)
    before = tiny.state(made)
    first = {k: v.numpy() for k, v in made.validate(arrays).items()}
    second = {k: v.numpy() for k, v in made.validate(arrays).items()}
    tiny.assert_same(before, tiny.state(made))
    assert set(first) == {
        f"validation/{n}" for n in ("v_loss", "q_loss", "behavior_loss")
    }
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].shape == (2,) and np.isfinite(first[name]).all()


def test_losses_fall_on_learnable_data():
    arrays = tiny.arrays()
    # Actions follow the observation, rewards the action.
    actions = tf.tanh(tf.gather(arrays.rows, arrays.index)[:, :2])
    arrays = arrays._replace(actions=actions, rewards=actions[:, 0])
    made = tiny.learner((0,), "Behavior.learning_rate = 3e-3")
    first = made.train(arrays, 1, 1)
    made.train(arrays, 300, 900)
    last = made.train(arrays, 50, 50)
    assert last["behavior/loss"] < 0.6 * first["behavior/loss"]
    assert last["critic/q_loss"] < 0.3 * first["critic/q_loss"]


def test_average_follows_the_score_by_its_rate():
    arrays, made = tiny.arrays(), tiny.learner((0,), "Behavior.average_rate = 0.25")
    before = tiny.state(made.behavior.average)
    made.train(arrays, 0, 1)
    after = tiny.state(made.behavior.average)
    score = tiny.state(made.behavior.network)
    for old, new, target in zip(before, after, score, strict=True):
        np.testing.assert_allclose(new, 0.75 * old + 0.25 * target, atol=1e-6)


def test_only_training_transitions_are_drawn():
    arrays, made = tiny.arrays(), tiny.learner((0,))
    poisoned = arrays.rewards.numpy()
    poisoned[-100:] = np.nan
    metrics = made.train(arrays._replace(rewards=tf.constant(poisoned)), 200, 0)
    assert np.isfinite(metrics["critic/q_loss"]).all()


def test_validation_looks_at_no_training_transition():
    arrays, made = tiny.arrays(), tiny.learner((0, 1))
    made.train(arrays, 5, 5)
    rewards, actions = arrays.rewards.numpy(), arrays.actions.numpy()
    rewards[arrays.train.numpy()] = np.nan
    actions[arrays.train.numpy()] = np.nan
    poisoned = arrays._replace(
        rewards=tf.constant(rewards), actions=tf.constant(actions)
    )
    clean = made.validate(arrays)
    for name, value in made.validate(poisoned).items():
        assert np.isfinite(value).all(), name
        np.testing.assert_array_equal(value, clean[name])


def test_validation_is_of_the_average_without_dropout():
    bindings = ("Behavior.learning_rate = 1e-2", "LnResnet.dropout_rate = 0.3")
    arrays, made = tiny.arrays(), tiny.learner((0, 1), *bindings)
    made.train(arrays, 20, 20)
    held_out = arrays.validation.numpy()
    rows = arrays.index.numpy()[held_out]
    both = (2, 1, 1)
    batch = CriticBatch(
        observations=tf.constant(np.tile(arrays.rows.numpy()[rows], both)),
        actions=tf.constant(np.tile(arrays.actions.numpy()[held_out], both)),
        rewards=tf.constant(np.tile(arrays.rewards.numpy()[held_out], (2, 1))),
        masks=tf.constant(np.tile(arrays.masks.numpy()[held_out], (2, 1))),
        next_observations=tf.constant(np.tile(arrays.rows.numpy()[rows + 1], both)),
    )

    def loss(score, training=False):
        observed = batch.observations, batch.actions
        return made.behavior.loss(score, *observed, 0, training=training).numpy()

    found = made.validate(arrays)
    behavior = made.behavior
    ours = found["validation/behavior_loss"].numpy()
    np.testing.assert_allclose(ours, loss(behavior.average), rtol=1e-5)
    for other in (loss(behavior.network), loss(behavior.average, training=True)):
        assert (np.abs(ours / other - 1) > 1e-3).all()
    critic = made.critic.losses(batch)
    for name in ("v_loss", "q_loss"):
        np.testing.assert_allclose(found[f"validation/{name}"], critic[name], 1e-5)
