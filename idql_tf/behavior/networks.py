"""Score networks: noise predicted from a noisy action, an observation and a step.

The first dense layer acts on [noisy action, observation, step condition]. Its
three shares are computed apart: the step's once per distinct step, the
observation's once per observation, the action's for every row.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence

import gin
import tensorflow as tf
from tensorflow import keras

from idql_tf.errors import UserError, check_count, check_number
from idql_tf.nn import dense, fused, randomness


class ScoreNetwork(keras.Model, abc.ABC):
    """Time features, the split first layer and the output layer; a trunk between.

    Args:
      observation_size: D.
      action_size: A.
      seeds: one per member of the stack.
      hidden_dim: width F of the trunk.
      time_dim: size of the learnable Fourier features.
      condition_dims: the two layer sizes of the step encoder.
      activation: 'mish', 'swish' or 'relu', everywhere in the network.
      stacked: False drops the seed axis (one member, no leading axis).
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        seeds: Sequence[int],
        hidden_dim: int,
        time_dim: int,
        condition_dims: Sequence[int],
        activation: str,
        stacked: bool = True,
    ) -> None:
        super().__init__(name="score")
        if len(condition_dims) != 2:
            raise UserError(
                f"condition_dims is {tuple(condition_dims)}; expected two layer sizes"
            )
        for width in (hidden_dim, time_dim, *condition_dims):
            check_count("a width of the score network", width)
        if time_dim % 2:
            raise UserError(f"time_dim is {time_dim}; expected an even number")
        self._seeds = tuple(seeds)
        self._stack = (len(self._seeds),) if stacked else ()
        self._sizes = (action_size, observation_size)
        self.hidden_dim = hidden_dim
        self._activate = fused.activation(activation)
        self.frequencies = self.add_weight(
            "frequencies",
            (*self._stack, time_dim // 2, 1),
            initializer=dense.MemberInitializer(
                lambda shape, key: (
                    0.2
                    * tf.random.stateless_normal(shape, key, alg=randomness.ALGORITHM)
                ),
                self._seeds,
                "score/frequencies",
            ),
        )
        sizes = (time_dim, *condition_dims)
        self.condition = dense.mlp_layers(
            sizes, self._seeds, self._stack, "score/condition"
        )
        joined = action_size + observation_size + condition_dims[-1]
        self.first = self._dense(joined, hidden_dim, dense.xavier_uniform, "first")

    def _dense(self, n_in: int, n_out: int, draw: Callable, name: str) -> keras.Layer:
        return dense.StackedDense(
            n_in, n_out, self._seeds, self._stack, draw, f"score/{name}"
        )

    def step_features(self, steps: tf.Tensor) -> tf.Tensor:
        """Maps distinct steps [R] to their first-layer share [S, R, F]."""
        kernel = self.first.kernel[..., sum(self._sizes) :, :]
        return dense.affine(self._conditions(steps), kernel, None)

    def _conditions(self, steps: tf.Tensor) -> tf.Tensor:
        angle = 2.0 * math.pi * tf.cast(steps, tf.float32)[:, None]
        angle = angle * tf.squeeze(self.frequencies, -1)[..., None, :]
        h = tf.concat([tf.cos(angle), tf.sin(angle)], -1)
        return self.condition[1](self._activate(self.condition[0](h)))

    def observation_features(self, observations: tf.Tensor) -> tf.Tensor:
        """Maps observations [S, B, D] to their first-layer share [S, B, F]."""
        a, d = self._sizes
        kernel = self.first.kernel[..., a : a + d, :]
        return dense.affine(observations, kernel, self.first.bias)

    def action_features(self, actions: tf.Tensor) -> tf.Tensor:
        """Maps noisy actions [S, R, A] to their first-layer share [S, R, F]."""
        return dense.affine(actions, self.first.kernel[..., : self._sizes[0], :], None)

    @property
    @abc.abstractmethod
    def num_dropouts(self) -> int:
        """How many draws `trunk` wants for dropout."""

    @abc.abstractmethod
    def trunk(self, h: tf.Tensor, draws: Sequence[tf.Tensor] = ()) -> tf.Tensor:
        """Maps first-layer outputs [S, R, F] to predicted noise [S, R, A]."""

    def call(
        self,
        actions: tf.Tensor,
        observations: tf.Tensor,
        steps: tf.Tensor,
        num_steps: int,
        draws: Sequence[tf.Tensor] = (),
    ) -> tf.Tensor:
        """Predicts the noise in `actions`.

        Args:
          actions: noisy actions [S, B, A].
          observations: [S, B, D].
          steps: int32 [S, B] in {0, ..., num_steps - 1}.
          num_steps: T.
          draws: `num_dropouts` random int16 [S, B, F]; () switches dropout off.

        Returns:
          Noise [S, B, A].
        """
        conditions = self._conditions(tf.range(num_steps))
        # The distinct steps' shares are further rows of the kernel, and every row of
        # the batch picks its own by a one: no pass of its own for it, nor back.
        sizes = [sum(self._sizes), conditions.shape[-1]]
        kernel, of_condition = tf.split(self.first.kernel, sizes, axis=-2)
        kernel = tf.concat([kernel, dense.affine(conditions, of_condition, None)], -2)
        picked = tf.one_hot(steps, num_steps)
        joined = tf.concat([actions, observations, picked], -1)
        return self.trunk(dense.affine(joined, kernel, self.first.bias), draws)


@gin.configurable(denylist=["observation_size", "action_size", "seeds", "stacked"])
class LnResnet(ScoreNetwork):
    """LN-ResNet: blocks of dropout, LayerNorm, F -> 4F -> F with a residual.

    The defaults of every number are in gin/base.gin (IDQL appendix E, G).
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        seeds: Sequence[int],
        hidden_dim: int,
        num_blocks: int,
        time_dim: int,
        condition_dims: Sequence[int],
        activation: str,
        dropout_rate: float,
        layer_norm: bool,
        expansion: int = 4,
        stacked: bool = True,
    ) -> None:
        super().__init__(
            observation_size,
            action_size,
            seeds,
            hidden_dim,
            time_dim,
            condition_dims,
            activation,
            stacked,
        )
        check_count("LnResnet.num_blocks", num_blocks)
        check_count("LnResnet.expansion", expansion)
        check_number("LnResnet.dropout_rate", dropout_rate, most=0.999)
        if not isinstance(layer_norm, bool):
            raise UserError(f"LnResnet.layer_norm is {layer_norm!r}; expected a bool")
        self._dropout_rate = dropout_rate
        self.blocks = []
        for i in range(num_blocks):
            norm = self._norm_weights(i) if layer_norm else None
            wide = expansion * hidden_dim
            up = self._dense(hidden_dim, wide, dense.lecun_normal, f"{i}/up")
            down = self._dense(wide, hidden_dim, dense.lecun_normal, f"{i}/down")
            self.blocks.append((norm, up, down))
        self.output_layer = self._dense(
            hidden_dim, action_size, dense.xavier_uniform, "output"
        )

    def _norm_weights(self, i: int) -> tuple[tf.Variable, tf.Variable]:
        shape = (*self._stack, self.hidden_dim)
        return (
            self.add_weight(f"norm_{i}_scale", shape, initializer="ones"),
            self.add_weight(f"norm_{i}_bias", shape, initializer="zeros"),
        )

    @property
    def num_dropouts(self) -> int:
        """One per block."""
        return len(self.blocks) if self._dropout_rate > 0.0 else 0

    def trunk(self, h: tf.Tensor, draws: Sequence[tf.Tensor] = ()) -> tf.Tensor:
        """Maps [S, R, F] to noise [S, R, A]; `draws` are one [S, R, F] per block."""
        rate = tf.constant(self._dropout_rate)
        for i, (norm, up, down) in enumerate(self.blocks):
            residual = h
            dropout = (draws[i], rate) if draws else ()
            if norm is not None:
                weights = map(tf.convert_to_tensor, norm)
                h, residual = fused.layer_norm(h, *weights, *dropout)
            elif dropout:
                h = fused.dropout(h, *dropout)
            h = residual + down(self._activate(up(h)))
        return self.output_layer(self._activate(h))


@gin.configurable(denylist=["observation_size", "action_size", "seeds", "stacked"])
class Mlp(ScoreNetwork):
    """The ablation's plain network: hidden layers, no residual, no dropout."""

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        seeds: Sequence[int],
        hidden_dim: int,
        num_hidden: int,
        time_dim: int,
        condition_dims: Sequence[int],
        activation: str,
        stacked: bool = True,
    ) -> None:
        super().__init__(
            observation_size,
            action_size,
            seeds,
            hidden_dim,
            time_dim,
            condition_dims,
            activation,
            stacked,
        )
        check_count("Mlp.num_hidden", num_hidden)
        sizes = (*[hidden_dim] * num_hidden, action_size)
        self.hidden = dense.mlp_layers(sizes, self._seeds, self._stack, "score/hidden")

    @property
    def num_dropouts(self) -> int:
        """No dropout."""
        return 0

    def trunk(self, h: tf.Tensor, draws: Sequence[tf.Tensor] = ()) -> tf.Tensor:
        """Maps [S, R, F] to noise [S, R, A]; takes no draws."""
        for layer in self.hidden:
            h = layer(self._activate(h))
        return h
