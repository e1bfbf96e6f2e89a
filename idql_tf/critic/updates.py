"""The critic: V step, Q step and target average (IDQL algorithm 1, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import gin
import tensorflow as tf

from idql_tf.critic.networks import QNetwork, VNetwork
from idql_tf.critic.objectives import Exponential, Objective
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
        for width in hidden_dims:
            check_count("a width of Critic.hidden_dims", width)
        self.objective, self.observation_size = objective, observation_size
        self.discount, self._target_rate = discount, target_rate
        self._learning_rate = learning_rate
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
    def metrics(self) -> tuple[str, ...]:
        """What `update` returns: the METRICS, and what the objective adds to them."""
        added = isinstance(self.objective, Exponential)
        return self.METRICS + ("capped_share",) * added

    def advantage(self, observations: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        """Minimum target Q - V, [S, B], of [S, B, D] and [S, B, A]."""
        q = tf.reduce_min(self.target_q(observations, actions), axis=1)
        return q - self.value(observations)

    def value_loss(self, batch: CriticBatch) -> tuple[tf.Tensor, dict]:
        """Mean f(min target Q - V) per seed, [S] (IDQL eq. 7), and statistics [S]."""
        q = tf.reduce_min(self.target_q(batch.observations, batch.actions), axis=1)
        q = tf.stop_gradient(q)
        v = self.value(batch.observations)
        loss = weighted_mean(self.objective.loss(q - v), batch.weights)
        statistics = {
            "q_mean": tf.reduce_mean(q, -1),
            "v_mean": tf.reduce_mean(v, -1),
            "advantage_stddev": tf.math.reduce_std(q - v, -1),
        }
        if isinstance(self.objective, Exponential):
            capped = tf.cast(self.objective.is_capped(q - v), tf.float32)
            statistics["capped_share"] = tf.reduce_mean(capped, -1)
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

        Returns:
          The `metrics`, [S] each; losses are those before the step.
        """
        variables = self.value.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            v_loss, statistics = self.value_loss(batch)
        gradients = tape.gradient(v_loss, variables)
        self.value_optimizer.apply(gradients, self._learning_rate)

        variables = self.q.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            q_loss = self.q_loss(batch)
        self.q_optimizer.apply(tape.gradient(q_loss, variables), self._learning_rate)
        move_towards(self.target_q.trainable_variables, variables, self._target_rate)
        return {"v_loss": v_loss, "q_loss": q_loss, **statistics}
