"""Element-wise operations compiled into one pass over memory, forward and back.

On a CPU the matrix products of a score network run in oneDNN, but TensorFlow
takes one pass over memory for each element-wise op between them. XLA fuses each
of these functions, and each of their gradients, into a single pass. Inside an
XLA-compiled program they are inlined and cost nothing.

What acts is traced `without_xla`: TensorFlow Serving's compiler is off by default,
TFLite has none, and forward passes alone gain little from one.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

from idql_tf.errors import UserError

LAYER_NORM_EPSILON = 1e-6

_ORDINARY = contextvars.ContextVar("ordinary", default=False)
_CONSTANT = contextvars.ContextVar("constant", default=False)


@contextlib.contextmanager
def without_xla() -> Iterator[None]:
    """Traces this module's functions, normal draws and products as ordinary ops."""
    token = _ORDINARY.set(True)
    try:
        yield
    finally:
        _ORDINARY.reset(token)


def is_ordinary() -> bool:
    """Tells whether what is traced now is traced `without_xla`."""
    return _ORDINARY.get()


@contextlib.contextmanager
def constant_weights() -> Iterator[None]:
    """Traces layer norms for a graph whose weights will all be constants.

    oneDNN runs those as one op. With variables in their place TensorFlow 2.15's graph
    rewriter is silently wrong once two members are in a graph.
    """
    token = _CONSTANT.set(True)
    try:
        yield
    finally:
        _CONSTANT.reset(token)


def one_pass(function: Callable) -> Callable:
    """Compiles an element-wise function with XLA, except `without_xla`."""
    compiled = tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*args: tf.Tensor) -> object:
        return (function if _ORDINARY.get() else compiled)(*args)

    return call


@one_pass
def _mish(x: tf.Tensor) -> tf.Tensor:
    # tanh(softplus(x)) = n / (n + 2) with n = e^x (e^x + 2): one exponential.
    e = tf.exp(tf.minimum(x, 20.0))
    n = e * (e + 2.0)
    return x * (n / (n + 2.0))


@one_pass
def _mish_gradient(x: tf.Tensor, y: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    # No exponential, which is most of mish's cost: y is kept for the next product
    # anyway, and with t = tanh(softplus(x)) = y / x (0.6 at 0) the derivative
    # t + x (1 - t^2) sigmoid(x) is t + 2 y (1 - t^2) / (1 + t + sqrt(1 - t^2)).
    # A GPU's quotient may be an ulp above 1.
    t = tf.minimum(tf.where(tf.abs(x) < 1e-30, 0.6, y / x), 1.0)
    w = (1.0 - t) * (1.0 + t)
    return upstream * (t + 2.0 * y * w / (1.0 + t + tf.sqrt(w)))


@tf.custom_gradient
def _trained_mish(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    y = _mish(x)
    return y, lambda upstream: _mish_gradient(x, y, upstream)


def mish(x: tf.Tensor) -> tf.Tensor:
    """Returns x * tanh(softplus(x)), element by element."""
    # Written so, oneDNN runs it as one op.
    return x * tf.tanh(tf.nn.softplus(x)) if _ORDINARY.get() else _trained_mish(x)


@one_pass
def _swish(x: tf.Tensor) -> tf.Tensor:
    return x * tf.sigmoid(x)


@one_pass
def _swish_gradient(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    s = tf.sigmoid(x)
    return upstream * s * (1.0 + x * (1.0 - s))


@tf.custom_gradient
def _trained_swish(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    return _swish(x), lambda upstream: _swish_gradient(x, upstream)


def swish(x: tf.Tensor) -> tf.Tensor:
    """Returns x * sigmoid(x), element by element."""
    return _swish(x) if _ORDINARY.get() else _trained_swish(x)


def _drop(x: tf.Tensor, draws: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    kept = draws >= tf.cast((rate - 0.5) * 2.0**16, tf.int16)
    # Divided, x would cost XLA a pass of its own: it repeats no division.
    return tf.where(kept, x * (1.0 / (1.0 - rate)), 0.0)


_one_pass_drop = one_pass(_drop)


@tf.custom_gradient
def dropout(
    x: tf.Tensor, draws: tf.Tensor, rate: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """Zeroes each x with probability `rate` and scales the rest by 1 / (1 - rate).

    The probability is rounded to a multiple of 2^-16.

    Args:
      x: any shape.
      draws: random int16 of the same shape (`randomness.short_bits`).
      rate: float32 scalar in [0, 1).
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None, None]:
        return _one_pass_drop(upstream, draws, rate), None, None

    return _one_pass_drop(x, draws, rate), gradient


def _mean(x: tf.Tensor) -> tf.Tensor:
    if _ORDINARY.get():
        return tf.reduce_mean(x, -1, keepdims=True)
    # XLA adds a row's numbers one after the other on a CPU; halves it adds abreast.
    size = width = x.shape[-1]
    while width > 32 and width % 2 == 0:
        width //= 2
        x = x[..., :width] + x[..., width:]
    return tf.reduce_sum(x, -1, keepdims=True) / size


@one_pass
def _layer_norm(
    x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor, *draws_and_rate: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    x = _drop(x, *draws_and_rate) if draws_and_rate else x
    mean = _mean(x)
    centred = x - mean
    inverse = tf.math.rsqrt(_mean(centred * centred) + LAYER_NORM_EPSILON)
    y = centred * inverse * scale[..., None, :] + bias[..., None, :]
    return y, mean, inverse


def _one_op_layer_norm(x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """The ops that oneDNN runs as one, as Keras' LayerNormalization has them.

    Rows are the channels of a batch normalisation without a scale of its own.
    """
    size = x.shape[-1]
    normed = []
    for member, weights in enumerate(zip(*map(tf.unstack, (scale, bias)), strict=True)):
        rows = tf.reshape(x if x.shape[0] == 1 else x[member], [-1, size])
        count = tf.shape(rows)[0]
        y = tf.raw_ops.FusedBatchNormV3(
            x=tf.reshape(rows, [1, count, size, 1]),
            scale=tf.ones([count]),
            offset=tf.zeros([count]),
            mean=[],
            variance=[],
            epsilon=LAYER_NORM_EPSILON,
            data_format="NCHW",
            is_training=True,
        ).y
        normed.append(tf.reshape(y, tf.shape(rows)) * weights[0] + weights[1])
    # Stacked, they would not be recognised.
    return tf.reshape(tf.concat(normed, 0), tf.shape(x))


@one_pass
def _layer_norm_gradient(
    x: tf.Tensor,
    mean: tf.Tensor,
    inverse: tf.Tensor,
    scale: tf.Tensor,
    upstream: tf.Tensor,
    upstream_of_x: tf.Tensor,
    *draws_and_rate: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    x = _drop(x, *draws_and_rate) if draws_and_rate else x
    normed = (x - mean) * inverse
    g = upstream * scale[..., None, :]
    dx = inverse * (g - _mean(g) - normed * _mean(g * normed))
    dx = _drop(dx, *draws_and_rate) if draws_and_rate else dx
    return upstream_of_x + dx, upstream * normed


@tf.custom_gradient
def _trained_layer_norm(
    x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor, *draws_and_rate: tf.Tensor
) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable]:
    y, mean, inverse = _layer_norm(x, scale, bias, *draws_and_rate)

    def gradient(
        upstream: tf.Tensor, upstream_of_x: tf.Tensor
    ) -> tuple[tf.Tensor | None, ...]:
        dx, scaled = _layer_norm_gradient(
            x, mean, inverse, scale, upstream, upstream_of_x, *draws_and_rate
        )
        sums = tf.reduce_sum(scaled, -2), tf.reduce_sum(upstream, -2)
        return dx, *sums, *[None] * len(draws_and_rate)

    return (y, x), gradient


def layer_norm(
    x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor, *draws_and_rate: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Layer normalisation over the last axis with epsilon 1e-6 (flax's default).

    Args:
      x: [*stack, B, F].
      scale: [*stack, F].
      bias: [*stack, F].
      *draws_and_rate: both of a `dropout` of x before it in the same pass, or none.

    Returns:
      The norm [*stack, B, F], and x again: where a residual around the norm trains,
      the gradients of both are added in the norm's pass.
    """
    if not _ORDINARY.get():
        return _trained_layer_norm(x, scale, bias, *draws_and_rate)
    dropped = dropout(x, *draws_and_rate) if draws_and_rate else x
    if _CONSTANT.get():
        return _one_op_layer_norm(dropped, scale, bias), x
    return _layer_norm(dropped, scale, bias)[0], x


_ACTIVATIONS = {"mish": mish, "swish": swish, "relu": tf.nn.relu}


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Finds an activation by name.

    Raises:
      UserError: there is none of that name.
    """
    if name not in _ACTIVATIONS:
        raise UserError(f"activation is {name!r}; expected one of {[*_ACTIVATIONS]}")
    return _ACTIVATIONS[name]
