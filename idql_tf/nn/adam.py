"""Adam and AdamW as the reference uses them (optax), for stacked variables."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class Adam(tf.Module):
    """Adam with epsilon on the bias-corrected root, as optax and the paper have it.

    Keras adds epsilon to the uncorrected root, a larger epsilon early on. Here
    the fused kernel is given epsilon * sqrt(1 - beta2^t), which is the same
    update exactly. With `weight_decay` every variable shrinks by
    learning_rate * weight_decay before the step (AdamW without a mask).

    Args:
      variables: the variables to update.
      beta1: decay of the first moment.
      beta2: decay of the second moment.
      epsilon: added to the bias-corrected root of the second moment.
      weight_decay: decoupled weight decay.
    """

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(name="adam")
        self._variables = list(variables)
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._weight_decay = weight_decay
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.first = [tf.Variable(tf.zeros_like(v)) for v in variables]
        self.second = [tf.Variable(tf.zeros_like(v)) for v in variables]

    def apply(
        self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor | float
    ) -> None:
        """Takes one step, `gradients` in the order of `variables`."""
        count = tf.cast(self.step.assign_add(1), tf.float64)
        # In float64: 1 - 0.999^t loses half its digits in float32 at t = 1.
        beta2_power = tf.constant(self._beta2, tf.float64) ** count
        beta1_power = tf.constant(self._beta1, tf.float64) ** count
        root = tf.sqrt(1.0 - beta2_power)
        rate = tf.cast(learning_rate, tf.float64) * root / (1.0 - beta1_power)
        rate, epsilon = (tf.cast(x, tf.float32) for x in (rate, self._epsilon * root))
        for variable, m, v, gradient in zip(
            self._variables, self.first, self.second, gradients, strict=True
        ):
            if self._weight_decay:
                decay = tf.cast(learning_rate, tf.float32) * self._weight_decay
                variable.assign_sub(decay * variable)
            # Powers of zero switch the kernel's own float32 correction off.
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=0.0,
                beta2_power=0.0,
                lr=rate,
                beta1=self._beta1,
                beta2=self._beta2,
                epsilon=epsilon,
                grad=gradient,
            )


def cosine_decay(rate: float, step: tf.Tensor, decay_steps: int | None) -> tf.Tensor:
    """Cosine from `rate` to 0 over `decay_steps` (None: constant), then 0."""
    if decay_steps is None:
        return tf.constant(rate, tf.float32)
    progress = tf.minimum(tf.cast(step, tf.float64) / decay_steps, 1.0)
    return tf.cast(
        0.5 * rate * (1.0 + tf.cos(3.141592653589793 * progress)), tf.float32
    )


def move_towards(
    targets: Sequence[tf.Variable], sources: Sequence[tf.Variable], rate: float
) -> None:
    """Exponential moving average: target <- (1 - rate) target + rate source."""
    for target, source in zip(targets, sources, strict=True):
        tf.raw_ops.ResourceApplyGradientDescent(
            var=target.handle, alpha=rate, delta=target - source
        )
