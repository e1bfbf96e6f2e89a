"""A distribution over points, such as the candidates of an observation."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


class WeightedPoints(tfp.distributions.Distribution):
    """Takes point n of a row with probability p_n; the mode is the likeliest.

    Not a composite tensor, so PolicySaver leaves it out and says so: with it, no
    program without TensorFlow Probability could load the model.

    Args:
      points: float [B, N, A], or integers [B, N] of discrete actions.
      probabilities: [B, N], which sum to 1.
    """

    def __init__(self, points: tf.Tensor, probabilities: tf.Tensor) -> None:
        parameters = dict(locals())
        self._points, self._probabilities = points, probabilities
        self._mixture = tfd.MixtureSameFamily(
            tfd.Categorical(probs=probabilities),
            tfd.Independent(
                tfd.Deterministic(points),
                reinterpreted_batch_ndims=points.shape.rank - 2,
            ),
        )
        super().__init__(
            dtype=points.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=False,
            parameters=parameters,
            name="WeightedPoints",
        )

    @classmethod
    def _parameter_properties(
        cls, dtype: tf.DType | None, num_classes: int | None = None
    ) -> dict[str, Any]:
        return {
            "points": tfp.util.ParameterProperties(
                event_ndims=lambda self: self._points.shape.rank - 1
            ),
            "probabilities": tfp.util.ParameterProperties(event_ndims=1),
        }

    def _event_shape(self) -> tf.TensorShape:
        return self._points.shape[2:]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self._points)[2:]

    def _sample_n(self, n: tf.Tensor, seed: Any = None) -> tf.Tensor:
        return self._mixture.sample(n, seed=seed)

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        """The logarithm of the probability itself, not of a density."""
        return self._mixture.log_prob(value)

    def _mean(self) -> tf.Tensor:
        return self._mixture.mean()

    def _mode(self) -> tf.Tensor:
        # An ensemble of discrete policies lists an action once for each member.
        points = self._points
        columns = points if points.shape.rank == 3 else points[..., None]
        same = tf.reduce_all(columns[:, :, None] == columns[:, None], -1)
        weights = self._probabilities
        likeliest = tf.argmax(
            tf.linalg.matvec(tf.cast(same, weights.dtype), weights), -1
        )
        return tf.gather(self._points, likeliest, axis=1, batch_dims=1)
