"""Q and V: two hidden ReLU layers each, Xavier-uniform (IDQL appendix E)."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tensorflow import keras

from idql_tf.nn import dense, fused


class QNetwork(keras.Model):
    """Ensemble of K Q functions for each of S seeds.

    The first layer's share of the observation is a function of its own, so that
    N candidate actions of one observation pay for it once.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden_dims: Sequence[int],
        seeds: Sequence[int],
        num_members: int = 2,
    ) -> None:
        super().__init__(name="q")
        self._observation_size = observation_size
        sizes = (observation_size + action_size, *hidden_dims, 1)
        stack = (len(seeds), num_members)
        self.layers_ = dense.mlp_layers(sizes, seeds, stack, "q")

    def observation_features(self, observations: tf.Tensor) -> tf.Tensor:
        """Maps observations [S, B, D] to their first-layer share [S, K, B, H]."""
        first = self.layers_[0]
        kernel = first.kernel[..., : self._observation_size, :]
        return dense.affine(observations[:, None], kernel, first.bias)

    def from_features(self, features: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        """Returns Q of N candidates per observation.

        Args:
          features: [S, K, B, H] from `observation_features`.
          actions: [S, B, N, A] in [-1, 1].

        Returns:
          [S, K, B, N].
        """
        actions = tf.convert_to_tensor(actions)
        seeds, size = actions.shape[0], actions.shape[-1]
        batch, num = tf.shape(actions)[1], tf.shape(actions)[2]
        rows = tf.reshape(actions, [seeds, 1, batch * num, size])
        kernel = self.layers_[0].kernel[..., self._observation_size :, :]
        h = dense.affine(rows, kernel, None)
        members, hidden = features.shape[1], features.shape[-1]
        h = tf.reshape(h, [seeds, members, batch, num, hidden]) + features[..., None, :]
        h = tf.reshape(h, [seeds, members, batch * num, hidden])
        return tf.reshape(self._finish(h), [seeds, members, batch, num])

    def call(self, observations: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        """Returns Q [S, K, B] of observations [S, B, D] and actions [S, B, A]."""
        joined = tf.concat([observations, actions], axis=-1)
        return self._finish(self.layers_[0](joined[:, None]))

    def _finish(self, h: tf.Tensor) -> tf.Tensor:
        for layer in self.layers_[1:]:
            h = layer(tf.nn.relu(h))
        return tf.squeeze(h, -1)


class VNetwork(keras.Model):
    """State values of S seeds; `layer_norm` normalises the raw observation first.

    The normalisation is the released HEAD's variant; the paper has none.
    """

    def __init__(
        self,
        observation_size: int,
        hidden_dims: Sequence[int],
        seeds: Sequence[int],
        layer_norm: bool = False,
    ) -> None:
        super().__init__(name="v")
        stack = (len(seeds),)
        self._scale = self._bias = None
        if layer_norm:
            shape = (*stack, observation_size)
            self._scale = self.add_weight("norm_scale", shape, initializer="ones")
            self._bias = self.add_weight("norm_bias", shape, initializer="zeros")
        sizes = (observation_size, *hidden_dims, 1)
        self.layers_ = dense.mlp_layers(sizes, seeds, stack, "v")

    def call(self, observations: tf.Tensor) -> tf.Tensor:
        """Returns V [S, B] of observations [S, B, D]."""
        h = observations
        if self._scale is not None:
            h, _ = fused.layer_norm(
                h, tf.convert_to_tensor(self._scale), tf.convert_to_tensor(self._bias)
            )
        h = self.layers_[0](h)
        for layer in self.layers_[1:]:
            h = layer(tf.nn.relu(h))
        return tf.squeeze(h, -1)
