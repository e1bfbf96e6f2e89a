"""The critic: V step, Q step and target average (IDQL algorithm 1, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import gin
import tensorflow as tf

from idql_tf.critic.networks import QNetwork, VNetwork
from idql_tf.critic.objectives import Exponential, Objective
from idql_tf.critic.schedules import SCHEDULES
from idql_tf.errors import UserError, check_count, check_number
from idql_tf.nn.adam import Adam, move_towards
from idql_tf.nn.dense import weighted_mean


class CriticBatch(NamedTuple):
    """Transitions of S members, float32: [S, B, ...].

    `weights` [S, B] multiply each transition's losses; None weighs all alike.
    """

    observations: tf.Tensor
    actions: tf.Tensor
    rewards: tf.Tensor
    masks: tf.Tensor
    next_observations: tf.Tensor
    weights: tf.Tensor | None = None


@gin.configurable(denylist=["observation_size", "action_size", "seeds"])
class Critic(tf.Module):
    """Twin Q, target Q and V of S seeds with their optimizers.

    Args:
      observation_size: D.
      action_size: A.
      seeds: one per member of the stack.
      objective: `Expectile`, `Quantile` or `Exponential`.
      hidden_dims: widths of both networks.
      num_q: Q functions per seed; their minimum counts.
      discount: gamma.
      learning_rate: of Adam, constant.
      target_rate: step of the target average, towards the trained Q.
      value_layer_norm: normalise V's input (released HEAD only).
      value_warmup_steps: first updates, in which V alone is trained.

    Attributes:
      parameter: [S], what the objective's schedule has reached; None without one.
      metrics: names of what `update` returns: METRICS, and what the objective and its
        schedule add to them.
    """

    METRICS = ("v_loss", "q_loss", "q_mean", "v_mean", "advantage_stddev")

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        seeds: Sequence[int],
        objective: Objective,
        hidden_dims: Sequence[int],
        num_q: int,
        discount: float,
        learning_rate: float,
        target_rate: float,
        value_layer_norm: bool = False,
        value_warmup_steps: int = 0,
    ) -> None:
        super().__init__(name="critic")
        if isinstance(objective, type) or not hasattr(objective, "implicit_weight"):
            raise UserError(
                f"Critic.objective is {objective!r}; expected @Expectile(), "
                "@Quantile() or @Exponential()"
            )
        check_count("Critic.num_q", num_q)
        check_number("Critic.discount", discount, most=1.0)
        check_number("Critic.learning_rate", learning_rate)
        check_number("Critic.target_rate", target_rate, most=1.0)
        check_count("Critic.value_warmup_steps", value_warmup_steps, 0)
        for width in hidden_dims:
            check_count("a width of Critic.hidden_dims", width)
        self._objective, self.observation_size = objective, observation_size
        self.discount, self._target_rate = discount, target_rate
        self._learning_rate = learning_rate
        self._value_warmup_steps = value_warmup_steps
        self._schedule = self.parameter = None
        self.metrics: tuple[str, ...] = self.METRICS
        if isinstance(objective.parameter, SCHEDULES):
            self._schedule = objective.parameter
            first = [float(self._schedule.first)] * len(seeds)
            self.parameter = tf.Variable(first, trainable=False, name="parameter")
            self.metrics += ("objective_parameter", "positive_share")
        if isinstance(objective, Exponential):
            self.metrics += ("capped_share",)
        sizes = (observation_size, action_size, hidden_dims, seeds, num_q)
        self.q = QNetwork(*sizes)
        self.target_q = QNetwork(*sizes)
        for target, source in zip(
            self.target_q.variables, self.q.variables, strict=True
        ):
            target.assign(source)
        self.value = VNetwork(observation_size, hidden_dims, seeds, value_layer_norm)
        self.q_optimizer = Adam(self.q.trainable_variables)
        self.value_optimizer = Adam(self.value.trainable_variables)

    @property
    def objective(self) -> Objective:
        """f with the present parameter of every seed."""
        if self.parameter is None:
            return self._objective
        return self._objective.at(self.parameter)

    @property
    def acting_variables(self) -> list[tf.Variable]:
        """What the choice of an action reads."""
        scheduled = [] if self.parameter is None else [self.parameter]
        return [*self.target_q.variables, *self.value.variables, *scheduled]

    def implicit_weight(self, u: tf.Tensor) -> tf.Tensor:
        """|f'(u)| / |u| (IDQL eq. 8-12) of advantages u [S, ...].

        Also of an ensemble's, [1, ...]: by the mean of the seeds' parameters.
        """
        if self.parameter is None or u.shape[0] == self.parameter.shape[0]:
            return self.objective.implicit_weight(u)
        mean = tf.reduce_mean(self.parameter, keepdims=True)
        return self._objective.at(mean).implicit_weight(u)

    def advantage(self, observations: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        """Minimum target Q - V, [S, B], of [S, B, D] and [S, B, A]."""
        q = tf.reduce_min(self.target_q(observations, actions), axis=1)
        return q - self.value(observations)

    def value_loss(self, batch: CriticBatch) -> tuple[tf.Tensor, dict]:
        """Mean f(min target Q - V) per seed, [S] (IDQL eq. 7), and statistics [S]."""
        q = tf.reduce_min(self.target_q(batch.observations, batch.actions), axis=1)
        q = tf.stop_gradient(q)
        v = self.value(batch.observations)
        objective = self.objective
        loss = weighted_mean(objective.loss(q - v), batch.weights)
        statistics = {
            "q_mean": tf.reduce_mean(q, -1),
            "v_mean": tf.reduce_mean(v, -1),
            "advantage_stddev": tf.math.reduce_std(q - v, -1),
        }
        if isinstance(objective, Exponential):
            capped = tf.cast(objective.is_capped(q - v), tf.float32)
            statistics["capped_share"] = tf.reduce_mean(capped, -1)
        if self.parameter is not None:
            positive = weighted_mean(tf.cast(q > v, tf.float32), batch.weights)
            whole = weighted_mean(tf.ones_like(v), batch.weights)
            statistics["positive_share"] = tf.math.divide_no_nan(positive, whole)
            statistics["objective_parameter"] = tf.identity(self.parameter)
        return loss, statistics

    def q_loss(self, batch: CriticBatch) -> tf.Tensor:
        """Mean over members and batch of (Q - r - discount mask V(s'))^2, [S]."""
        v_next = self.value(batch.next_observations)
        target = batch.rewards + self.discount * batch.masks * v_next
        q = self.q(batch.observations, batch.actions)
        error = q - tf.stop_gradient(target)[:, None]
        return weighted_mean(tf.reduce_mean(tf.square(error), 1), batch.weights)

    def losses(self, batch: CriticBatch) -> dict[str, tf.Tensor]:
        """Losses and statistics [S] of a batch; changes nothing."""
        v_loss, statistics = self.value_loss(batch)
        return {"v_loss": v_loss, "q_loss": self.q_loss(batch), **statistics}

    def update(self, batch: CriticBatch) -> dict[str, tf.Tensor]:
        """One V step, one Q step on the new V, one target step.

        The first `value_warmup_steps` updates leave Q, its optimizer and the target as
        they are.

        Returns:
          The `metrics`, [S] each; losses are those before the step.
        """
        variables = self.value.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            v_loss, statistics = self.value_loss(batch)
        gradients = tape.gradient(v_loss, variables)
        self.value_optimizer.apply(gradients, self._learning_rate)
        if self._schedule is not None and self.parameter is not None:
            step, share = self.value_optimizer.step, statistics["positive_share"]
            self.parameter.assign(self._schedule.following(self.parameter, step, share))
        if self._value_warmup_steps:
            q_loss = tf.cond(
                self.value_optimizer.step > self._value_warmup_steps,
                lambda: self._update_q(batch),
                lambda: self.q_loss(batch),
            )
        else:
            q_loss = self._update_q(batch)
        return {"v_loss": v_loss, "q_loss": q_loss, **statistics}

    def _update_q(self, batch: CriticBatch) -> tf.Tensor:
        """One Q step and one target step; returns the loss [S] before them."""
        variables = self.q.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            q_loss = self.q_loss(batch)
        self.q_optimizer.apply(tape.gradient(q_loss, variables), self._learning_rate)
        move_towards(self.target_q.trainable_variables, variables, self._target_rate)
        return q_loss
