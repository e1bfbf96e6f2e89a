"""DDPM over actions: corruption, loss and the clipped reverse chain."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from idql_tf.behavior.schedules import Coefficients


def corrupt(
    actions: tf.Tensor, steps: tf.Tensor, noise: tf.Tensor, coefficients: Coefficients
) -> tf.Tensor:
    """Returns sqrt(alpha_bar_t) a + sqrt(1 - alpha_bar_t) noise (IDQL eq. 4).

    Args:
      actions: [S, B, A] in [-1, 1].
      steps: int32 [S, B] in {0, ..., T - 1}.
      noise: [S, B, A].
      coefficients: of the schedule.
    """
    signal = tf.gather(coefficients.signal, steps)[..., None]
    spread = tf.gather(coefficients.noise, steps)[..., None]
    return signal * actions + spread * noise


def loss(predicted: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Squared error summed over action dimensions, [S, B] (IDQL eq. 4, squared)."""
    return tf.reduce_sum(tf.math.squared_difference(predicted, noise), -1)


def reverse_chain(
    predict_noise: Callable[[tf.Tensor, int], tf.Tensor],
    draws: tf.Tensor,
    coefficients: Coefficients,
    clip: bool = True,
    temperature: float = 1.0,
) -> tf.Tensor:
    """Runs x_T ... x_0 of the reverse process (IDQL eq. 5 as released).

    The last step adds no noise, the variance is beta_t rather than the
    posterior's, and `clip` bounds the noisy iterate itself after every step.
    The result is always clipped to [-1, 1].

    Args:
      predict_noise: maps x [S, R, A] and the step t to noise [S, R, A].
      draws: standard normal [S, T, R, A]; draws[:, 0] is x_T and draws[:, k]
        the noise added at step t = T - k.
      coefficients: of the schedule, T steps.
      clip: whether intermediate iterates are clipped.
      temperature: factor on the added noise.

    Returns:
      Actions [S, R, A] in [-1, 1].
    """
    x = draws[:, 0]
    # Unrolled: T is small, and a loop's bookkeeping a good part of one action's time.
    for k, t in enumerate(reversed(range(coefficients.num_steps))):
        noise = coefficients.reverse_noise[t] * predict_noise(x, t)
        x = coefficients.reverse_scale[t] * (x - noise)
        if t > 0:
            x += temperature * coefficients.stddev[t] * draws[:, k + 1]
        if clip:
            x = tf.clip_by_value(x, -1.0, 1.0)
    return tf.clip_by_value(x, -1.0, 1.0)
