"""IQL's actor: a Gaussian over actions (IQL eq. 7; IDQL eq. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import gin
import tensorflow as tf
from tensorflow import keras

from idql_tf.behavior.model import BehaviorModel
from idql_tf.errors import UserError, check_count, check_number
from idql_tf.nn import dense
from idql_tf.nn.dense import weighted_mean

# IQL's bounds of a learnt log standard deviation.
_LOG_STDDEV = (-5.0, 2.0)


class GaussianNetwork(keras.Model):
    """Maps observations [S, B, D] to means and log standard deviations.

    Hidden ReLU layers; the standard deviations are the same for all observations.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden_dims: Sequence[int],
        seeds: Sequence[int],
        squash_mean: bool,
        fixed_stddev: float | None,
    ) -> None:
        super().__init__(name="gaussian")
        sizes = (observation_size, *hidden_dims, action_size)
        stack = (len(seeds),)
        self.layers_ = dense.mlp_layers(sizes, seeds, stack, "gaussian")
        self._squash, self._fixed = squash_mean, fixed_stddev
        if fixed_stddev is None:
            self.log_stddev = self.add_weight(
                "log_stddev", (*stack, action_size), initializer="zeros"
            )

    def call(self, observations: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the mean [S, B, A] and the log standard deviation, [S, A]."""
        h = self.layers_[0](observations)
        for layer in self.layers_[1:]:
            h = layer(tf.nn.relu(h))
        mean = tf.tanh(h) if self._squash else h
        if self._fixed is None:
            return mean, tf.clip_by_value(self.log_stddev, *_LOG_STDDEV)
        return mean, tf.fill([h.shape[0], h.shape[-1]], math.log(self._fixed))


@gin.configurable(denylist=["observation_size", "action_size", "seeds"])
class GaussianBehavior(BehaviorModel):
    """Gaussian behaviour model; with advantage weights it is IQL's actor.

    Args:
      observation_size: D.
      action_size: A.
      seeds: one per member of the stack.
      hidden_dims: widths of the network.
      squash_mean: take the mean's tanh (IQL).
      fixed_stddev: standard deviation of every action; None learns one each (IQL).
      learning_rate: of Adam at step 0.
      decay_steps: steps of the cosine decay to 0; None keeps the rate constant.
      weight_decay: decoupled, on every weight.
      average_rate: step of the moving average that acts; 1 acts with the newest.
      sampler_temperature: factor on the noise of candidates; 0 acts with the mean.

    Raises:
      UserError: an argument cannot be used.
    """

    KIND = "Gaussian"

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        seeds: Sequence[int],
        hidden_dims: Sequence[int],
        squash_mean: bool,
        fixed_stddev: float | None,
        learning_rate: float,
        decay_steps: int | None,
        weight_decay: float,
        average_rate: float,
        sampler_temperature: float,
    ) -> None:
        for width in hidden_dims:
            check_count("a width of GaussianBehavior.hidden_dims", width)
        if fixed_stddev is not None:
            check_number("GaussianBehavior.fixed_stddev", fixed_stddev, least=1e-4)
        if not isinstance(squash_mean, bool):
            raise UserError(
                f"GaussianBehavior.squash_mean is {squash_mean!r:.60}; expected True "
                "or False"
            )
        sizes = (observation_size, action_size, hidden_dims, tuple(seeds))
        super().__init__(
            "GaussianBehavior",
            lambda: GaussianNetwork(*sizes, squash_mean, fixed_stddev),
            tuple(seeds),
            action_size,
            learning_rate,
            decay_steps,
            average_rate,
            weight_decay,
            sampler_temperature,
        )

    @property
    def is_deterministic(self) -> bool:
        """Whether it acts with its mean."""
        return self._temperature == 0.0

    @property
    def num_draws(self) -> int:
        """One."""
        return 1

    def loss(
        self,
        network: GaussianNetwork,
        observations: tf.Tensor,
        actions: tf.Tensor,
        step: tf.Tensor | int,
        training: bool,
        weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Negative log density of the actions; see `BehaviorModel.loss`."""
        mean, log_stddev = network(observations)
        log_stddev = log_stddev[:, None]
        error = (actions - mean) * tf.exp(-log_stddev)
        constant = 0.5 * math.log(2.0 * math.pi)
        each = 0.5 * tf.square(error) + log_stddev + constant
        return weighted_mean(tf.reduce_sum(each, -1), weights)

    def denoise(
        self,
        observations: tf.Tensor,
        noise: tf.Tensor,
        num_candidates: tf.Tensor | int,
    ) -> tf.Tensor:
        """Mean and noise, clipped to [-1, 1]; see `BehaviorModel.denoise`."""
        mean, log_stddev = self.average(observations)
        seeds, batch = observations.shape[0], tf.shape(observations)[1]
        shape = [seeds, batch, num_candidates, self.action_size]
        stddev = self._temperature * tf.exp(log_stddev)[:, None, None]
        actions = mean[:, :, None] + stddev * tf.reshape(noise[:, 0], shape)
        return tf.clip_by_value(actions, -1.0, 1.0)
