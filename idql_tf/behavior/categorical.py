"""Behaviour model of discrete actions: the probabilities of all, and no draws."""

from __future__ import annotations

from collections.abc import Sequence

import gin
import numpy as np
import tensorflow as tf
from tensorflow import keras

from idql_tf.behavior.model import BehaviorModel
from idql_tf.errors import check_count
from idql_tf.nn import dense
from idql_tf.nn.dense import weighted_mean


class CategoricalNetwork(keras.Model):
    """Maps observations [S, B, D] to logits [S, B, A]; hidden ReLU layers."""

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden_dims: Sequence[int],
        seeds: Sequence[int],
    ) -> None:
        super().__init__(name="categorical")
        sizes = (observation_size, *hidden_dims, action_size)
        self.layers_ = dense.mlp_layers(sizes, seeds, (len(seeds),), "categorical")

    def call(self, observations: tf.Tensor) -> tf.Tensor:
        """Returns the logits."""
        h = self.layers_[0](observations)
        for layer in self.layers_[1:]:
            h = layer(tf.nn.relu(h))
        return h


@gin.configurable(denylist=["observation_size", "action_size", "seeds"])
class CategoricalBehavior(BehaviorModel):
    """Categorical behaviour model mu(a | s) of one-hot actions.

    There are few actions, so all are candidates, and extraction is exact: what N draws
    would do at random is done by the probabilities (`prior`).

    Args:
      observation_size: D.
      action_size: A, the number of actions.
      seeds: one per member of the stack.
      hidden_dims: widths of the network.
      learning_rate: of Adam at step 0.
      decay_steps: steps of the cosine decay to 0; None keeps the rate constant.
      weight_decay: decoupled, on every weight.
      average_rate: step of the moving average that acts and is evaluated.

    Raises:
      UserError: an argument cannot be used.
    """

    KIND = "categorical"
    DISCRETE = True

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        seeds: Sequence[int],
        hidden_dims: Sequence[int],
        learning_rate: float,
        decay_steps: int | None,
        weight_decay: float,
        average_rate: float,
    ) -> None:
        for width in hidden_dims:
            check_count("a width of CategoricalBehavior.hidden_dims", width)
        sizes = (observation_size, action_size, hidden_dims, tuple(seeds))
        super().__init__(
            "CategoricalBehavior",
            lambda: CategoricalNetwork(*sizes),
            tuple(seeds),
            action_size,
            learning_rate,
            decay_steps,
            average_rate,
            weight_decay,
            temperature=1.0,
        )

    @property
    def num_draws(self) -> int:
        """None: nothing is drawn."""
        return 0

    def loss(
        self,
        network: CategoricalNetwork,
        observations: tf.Tensor,
        actions: tf.Tensor,
        step: tf.Tensor | int,
        training: bool,
        weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Cross-entropy, -log mu(a | s); see `BehaviorModel.loss`."""
        log_mu = tf.nn.log_softmax(network(observations))
        return weighted_mean(-tf.reduce_sum(actions * log_mu, -1), weights)

    def denoise(
        self,
        observations: tf.Tensor,
        noise: tf.Tensor,
        num_candidates: tf.Tensor | int,
    ) -> tf.Tensor:
        """All A actions, one-hot [S, B, A, A], whatever the noise and N."""
        shape = [*tf.unstack(tf.shape(observations)[:2]), 1, 1]
        each = np.eye(self.action_size, dtype=np.float32)
        actions = tf.tile(each[None, None], shape)
        return tf.ensure_shape(
            actions, [observations.shape[0], None, self.action_size, self.action_size]
        )

    def prior(
        self, observations: tf.Tensor, num_candidates: tf.Tensor | int
    ) -> tf.Tensor:
        """log mu(a | s) of plausible actions, -inf of others, [S, B, A].

        Plausible is what N draws would be expected to contain, mu(a | s) >= 1 / N, and
        always the likeliest action: with N = 1 that one alone.
        """
        log_mu = tf.nn.log_softmax(self.average(observations))
        likeliest = tf.reduce_max(log_mu, -1, keepdims=True)
        expected = -tf.math.log(tf.cast(num_candidates, tf.float32))
        return tf.where(log_mu >= tf.minimum(likeliest, expected), log_mu, -np.inf)
