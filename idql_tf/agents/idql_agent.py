"""IDQL as a TF-Agents agent; the updates are those of the offline learner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import gin
import tensorflow as tf
from tf_agents.agents import data_converter, tf_agent
from tf_agents.trajectories import time_step as ts
from tf_agents.typing import types

from idql_tf import config
from idql_tf.behavior.categorical import CategoricalBehavior
from idql_tf.behavior.updates import Behavior
from idql_tf.critic.updates import Critic, CriticBatch
from idql_tf.errors import UserError, check_count
from idql_tf.policies import IdqlPolicy
from idql_tf.policies.spaces import Spaces
from idql_tf.training.divergence import LARGEST


class IdqlLossInfo(NamedTuple):
    """The `extra` of a `LossInfo`: float32 scalars, means over the batch.

    Attributes:
      v_loss: f(min target Q - V) (IDQL eq. 7).
      q_loss: (Q - r - discount V(s'))^2.
      behavior_loss: squared error of the predicted noise, summed over dimensions; of
        discrete actions the cross-entropy.
      q_mean: minimum target Q of the batch's actions.
      v_mean: V of the batch's observations.
      advantage_stddev: standard deviation of their difference.
    """

    v_loss: types.Tensor
    q_loss: types.Tensor
    behavior_loss: types.Tensor
    q_mean: types.Tensor
    v_mean: types.Tensor
    advantage_stddev: types.Tensor


@gin.configurable(denylist=["time_step_spec", "action_spec", "train_step_counter"])
class IdqlAgent(tf_agent.TFAgent):
    """Implicit diffusion Q-learning.

    Its behaviour model is the diffusion model, or the categorical one of discrete
    actions, unweighted: `IdqlLearner.behavior` and `behavior_weight` are the offline
    learner's alone.
    Networks, objective, rates and schedules are `Critic`, `Behavior` and so on in
    gin; what a program has not bound has the paper's numbers (gin/base.gin). Two of
    them matter online: the behaviour model's rate falls to 0 over BEHAVIOR_STEPS
    (`Behavior.decay_steps = None` keeps it), and `Critic.discount` multiplies the
    time step's discount, which should be 0 or 1. One
    `train` call takes one V and one Q step and `num_behavior_updates` behaviour
    steps, each of these on its own share of the batch.

    `loss` is that of `train` with dropout off and the averaged score network, unless
    `training`. One replica only: a tf.distribute strategy with more is refused.

    Transitions that lead from one episode into the next (`is_boundary`) count
    nothing: their losses weigh zero.

    Args:
      time_step_spec: observations are a TensorSpec or a dict of them.
      action_spec: a bounded float vector [A], or one bounded integer, the number of a
        discrete action.
      num_candidates: N of both policies; the paper takes 32 to 128.
      extraction: of `policy`, one of `idql_tf.extraction.METHODS`.
      collect_extraction: of `collect_policy`; the paper's two online variants are
        'implicit' and 'argmax'.
      num_behavior_updates: behaviour steps per `train` call; the paper takes 2.
      critic_batch_size: rows of the batch for the critic; None takes all. The paper
        takes 256, and 1024 rows for each behaviour step.
      observation_keys: order in which dict observations are flattened; None takes
        that of `idql_tf.data`.
      seed: of initial weights and all draws of training.
      debug_summaries: as in TFAgent.
      summarize_grads_and_vars: histograms of the trained variables; gradients are
        not summarized.
      train_step_counter: counts `train` calls; None takes the global step.
      name: of the module.

    Raises:
      UserError: a spec is of a kind that IDQL does not take, or a number is wrong.
    """

    def __init__(
        self,
        time_step_spec: ts.TimeStep,
        action_spec: types.NestedTensorSpec,
        num_candidates: int = 64,
        extraction: str = "argmax",
        collect_extraction: str = "implicit",
        num_behavior_updates: int = 2,
        critic_batch_size: int | None = None,
        observation_keys: Sequence[str] | None = None,
        seed: int = 0,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        name: str = "IdqlAgent",
    ) -> None:
        tf.Module.__init__(self, name=name)
        check_count("num_behavior_updates", num_behavior_updates, 0)
        check_count("seed", seed, 0)
        if critic_batch_size is not None:
            check_count("critic_batch_size", critic_batch_size)
        config.add_defaults()
        self._spaces = Spaces(time_step_spec.observation, action_spec, observation_keys)
        sizes = (self._spaces.observation_size, self._spaces.action_size, (seed,))
        self.critic = Critic(*sizes)
        model = CategoricalBehavior if self._spaces.discrete else Behavior
        self.behavior = model(*sizes)
        self._num_behavior_updates = num_behavior_updates
        self._critic_batch_size = critic_batch_size
        policy, collect_policy = (
            IdqlPolicy(
                time_step_spec,
                action_spec,
                self.critic,
                self.behavior,
                num_candidates,
                method,
                observation_keys=observation_keys,
            )
            for method in (extraction, collect_extraction)
        )
        super().__init__(
            time_step_spec,
            action_spec,
            policy,
            collect_policy,
            train_sequence_length=2,
            debug_summaries=debug_summaries,
            summarize_grads_and_vars=summarize_grads_and_vars,
            train_step_counter=train_step_counter,
        )
        self._as_transition = data_converter.AsTransition(
            self.data_context, squeeze_time_dim=True
        )

    def _initialize(self) -> None:
        """Nothing to do: networks and averages are made equal when they are made."""

    def _train(
        self, experience: types.NestedTensor, weights: types.Tensor | None
    ) -> tf_agent.LossInfo:
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise UserError(
                "IdqlAgent does not average gradients over replicas, found "
                f"{tf.distribute.get_strategy().num_replicas_in_sync}; expected 1; use "
                "tf.distribute.get_strategy() or OneDeviceStrategy"
            )
        batch = self._batch(experience, weights)
        enough = self._check_rows(batch)
        # All of it or nothing: in a graph a failed check stops only what needs it.
        with tf.control_dependencies([*batch, *enough]):
            shares = self._shares(batch)
            metrics = self.critic.update(_rows(batch, 0, self._critic_batch_size))
            losses = [
                self.behavior.update(part.observations, part.actions, part.weights)[
                    "loss"
                ]
                for part in shares
            ]
            self.train_step_counter.assign_add(1)
        behavior_loss = tf.add_n(losses) / len(losses) if losses else tf.zeros([1])
        info = self._info(metrics, behavior_loss)
        self._summarize(info.extra)
        return info

    def _loss(
        self,
        experience: types.NestedTensor,
        weights: types.Tensor | None,
        training: bool,
    ) -> tf_agent.LossInfo:
        """The losses of a batch; changes nothing."""
        batch = self._batch(experience, weights)
        network = self.behavior.network if training else self.behavior.average
        behavior_loss = self.behavior.loss(
            network,
            batch.observations,
            batch.actions,
            self.behavior.optimizer.step,
            training,
            batch.weights,
        )
        return self._info(self.critic.losses(batch), behavior_loss)

    def _batch(
        self, experience: types.NestedTensor, weights: types.Tensor | None
    ) -> CriticBatch:
        """Turns trajectories [B, 2, ...] into transitions [1, B, ...]."""
        before, step, after = self._as_transition(experience)
        batch = CriticBatch(
            self._spaces.flatten(before.observation),
            self._spaces.to_unit_action(step.action),
            tf.cast(after.reward, tf.float32),
            tf.cast(after.discount, tf.float32),
            self._spaces.flatten(after.observation),
            _weights(weights, tf.cast(~before.is_last(), tf.float32)),
        )
        # One such row would turn every weight into NaN, for good.
        checked = (
            _within(x, f"{name} of a batch not finite, or beyond {LARGEST:g}")
            for name, x in zip(batch._fields, batch, strict=True)
        )
        return CriticBatch(*(x[None] for x in checked))

    def _check_rows(self, batch: CriticBatch) -> list[tf.Operation]:
        """Refuses a batch too small to share; in a graph by the op it returns."""
        least, known = max(self._num_behavior_updates, 1), batch.rewards.shape[1]
        if known is not None and known < least:
            raise UserError(
                f"a batch of {known} rows cannot be shared among "
                f"{self._num_behavior_updates} behaviour updates; expected at least "
                "one row for each, and one at all"
            )
        check = tf.debugging.assert_greater_equal(
            tf.shape(batch.rewards)[1],
            least,
            "fewer rows in the batch than num_behavior_updates",
        )
        return [] if check is None else [check]

    def _shares(self, batch: CriticBatch) -> list[CriticBatch]:
        count, rows = self._num_behavior_updates, tf.shape(batch.rewards)[1]
        edges = [rows * i // max(count, 1) for i in range(count + 1)]
        return [_rows(batch, a, b) for a, b in zip(edges, edges[1:], strict=False)]

    def _info(
        self, metrics: dict[str, tf.Tensor], behavior_loss: tf.Tensor
    ) -> tf_agent.LossInfo:
        extra = IdqlLossInfo(
            behavior_loss=behavior_loss[0], **{k: metrics[k][0] for k in Critic.METRICS}
        )
        loss = extra.v_loss + extra.q_loss + extra.behavior_loss
        return tf_agent.LossInfo(loss, extra)

    def _summarize(self, extra: IdqlLossInfo) -> None:
        if not self.summaries_enabled:
            return
        for name, value in extra._asdict().items():
            tf.summary.scalar(f"Losses/{name}", value, self.train_step_counter)
        if self.summarize_grads_and_vars:
            trained = {
                "q": self.critic.q.trainable_variables,
                "value": self.critic.value.trainable_variables,
                "score": self.behavior.network.trainable_variables,
            }
            for name, variables in trained.items():
                for i, variable in enumerate(variables):
                    tag = f"Variables/{name}/{i}"
                    tf.summary.histogram(tag, variable, self.train_step_counter)


def _within(x: tf.Tensor, message: str) -> tf.Tensor:
    """Passes on what is finite and not so large that a squared gradient overflows."""
    # Of NaN the comparison is false.
    check = tf.debugging.assert_less_equal(tf.abs(x), LARGEST, message)
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(x)


def _weights(given: types.Tensor | None, within_episode: tf.Tensor) -> tf.Tensor:
    """Weighs steps [B] as asked, and those between two episodes not at all."""
    if given is None:
        return within_episode
    given = tf.cast(given, tf.float32)
    if given.shape.rank not in (0, 1, None):
        raise UserError(
            f"weights have the shape {given.shape}; expected one number for each row "
            "of the batch"
        )
    return given * within_episode


def _rows(
    batch: CriticBatch, start: tf.Tensor | int, stop: tf.Tensor | int | None
) -> CriticBatch:
    return CriticBatch(*(x[:, start:stop] for x in batch))
