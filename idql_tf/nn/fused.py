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
    """Traces the functions of this module, and normal draws, as ordinary ops."""
    token = _ORDINARY.set(True)
    try:
        yield
    finally:
        _ORDINARY.reset(token)


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


def one_pass(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Compiles an element-wise function with XLA, except `without_xla`."""
    compiled = tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*args: tf.Tensor) -> tf.Tensor:
        return (function if _ORDINARY.get() else compiled)(*args)

    return call


@one_pass
def _mish(x: tf.Tensor) -> tf.Tensor:
    # tanh(softplus(x)) = n / (n + 2) with n = e^x (e^x + 2): one exponential.
    e = tf.exp(tf.minimum(x, 20.0))
    n = e * (e + 2.0)
    return x * (n / (n + 2.0))


@one_pass
def _mish_gradient(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    e = tf.exp(tf.minimum(x, 20.0))
    n = e * (e + 2.0)
    t = n / (n + 2.0)
    return upstream * (t + x * (1.0 - t * t) * (e / (1.0 + e)))


@tf.custom_gradient
def _trained_mish(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    return _mish(x), lambda upstream: _mish_gradient(x, upstream)


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


def _standardize(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(centred * centred, -1, keepdims=True)
    inverse = tf.math.rsqrt(variance + LAYER_NORM_EPSILON)
    return centred * inverse, inverse


@one_pass
def _layer_norm(x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return _standardize(x)[0] * scale[..., None, :] + bias[..., None, :]


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
    x: tf.Tensor, scale: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    normed, inverse = _standardize(x)
    g = upstream * scale[..., None, :]
    mean_g = tf.reduce_mean(g, -1, keepdims=True)
    mean_gx = tf.reduce_mean(g * normed, -1, keepdims=True)
    return inverse * (g - mean_g - normed * mean_gx), upstream * normed


@tf.custom_gradient
def _trained_layer_norm(
    x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        dx, scaled = _layer_norm_gradient(x, scale, upstream)
        return dx, tf.reduce_sum(scaled, -2), tf.reduce_sum(upstream, -2)

    return _layer_norm(x, scale, bias), gradient


def layer_norm(x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Layer normalisation over the last axis with epsilon 1e-6 (flax's default).

    Args:
      x: [*stack, B, F].
      scale: [*stack, F].
      bias: [*stack, F].

    Returns:
      [*stack, B, F].
    """
    if not _ORDINARY.get():
        return _trained_layer_norm(x, scale, bias)
    if _CONSTANT.get():
        return _one_op_layer_norm(x, scale, bias)
    return _layer_norm(x, scale, bias)


@one_pass
def _drop(x: tf.Tensor, words: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    kept = words >= tf.cast((tf.cast(rate, tf.float64) - 0.5) * 2.0**32, tf.int32)
    return tf.where(kept, x / (1.0 - rate), 0.0)


@tf.custom_gradient
def dropout(
    x: tf.Tensor, words: tf.Tensor, rate: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """Zeroes each x with probability `rate` and scales the rest by 1 / (1 - rate).

    Args:
      x: any shape.
      words: random int32 of the same shape (`randomness.bits`).
      rate: float32 scalar in [0, 1).
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None, None]:
        return _drop(upstream, words, rate), None, None

    return _drop(x, words, rate), gradient


_ACTIVATIONS = {"mish": mish, "swish": swish, "relu": tf.nn.relu}


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Finds an activation by name.

    Raises:
      UserError: there is none of that name.
    """
    if name not in _ACTIVATIONS:
        raise UserError(f"activation is {name!r}; expected one of {[*_ACTIVATIONS]}")
    return _ACTIVATIONS[name]
