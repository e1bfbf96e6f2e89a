"""Dense layers for a stack of independent members.

A layer with `stack=(S,)` holds S sets of weights and maps [S, B, in] to
[S, B, units]; `stack=()` is an ordinary layer. Each member is initialised from
its own seed and fan, so member i of a stack equals a network built alone.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow import keras

from idql_tf.nn import fused, randomness

# Standard deviation of a unit normal truncated to +-2, which lecun_normal undoes.
_TRUNCATED_STDDEV = 0.87962566103423978

# Inputs or outputs from which `_wide_affine` gains, with batches of 256 and more: a
# tenth to a sixth of a product. With 512 and 256 rows the cores work a fifth longer.
_WIDE = 1024


def on_gpu() -> bool:
    """Tells whether the compiled steps run on a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))


def compiled(
    function: Callable,
    xla: bool | None = None,
    input_signature: Sequence[tf.TensorSpec] | None = None,
) -> tf.types.experimental.GenericFunction:
    """Compiles a tensor function, with XLA where it is the faster (None: on a GPU)."""
    jit = on_gpu() if xla is None else xla
    return tf.function(
        function,
        input_signature=input_signature,
        autograph=False,
        jit_compile=True if jit else None,
    )


def xavier_uniform(shape: Sequence[int], key: tf.Tensor) -> tf.Tensor:
    """Uniform with variance 2 / (fan_in + fan_out) over the last two axes."""
    limit = math.sqrt(6.0 / (shape[-2] + shape[-1]))
    return tf.random.stateless_uniform(
        shape, key, -limit, limit, alg=randomness.ALGORITHM
    )


def lecun_normal(shape: Sequence[int], key: tf.Tensor) -> tf.Tensor:
    """Normal truncated at 2 sigma with variance 1 / fan_in (flax's default)."""
    stddev = math.sqrt(1.0 / shape[-2]) / _TRUNCATED_STDDEV
    return tf.random.stateless_truncated_normal(
        shape, key, 0.0, stddev, alg=randomness.ALGORITHM
    )


class MemberInitializer(keras.initializers.Initializer):
    """Draws each member's weights from that member's seed and the weight's name."""

    def __init__(self, draw: Callable, seeds: Sequence[int], name: str) -> None:
        self._draw, self._seeds, self._name = draw, tuple(seeds), name

    def __call__(
        self, shape: Sequence[int], dtype: tf.DType | None = None, **_: object
    ) -> tf.Tensor:
        """Returns initial weights of `shape`, [S, ...] or [...] when unstacked."""
        step = zlib.crc32(self._name.encode())
        keys = randomness.keys(tf.constant(self._seeds, tf.int64), "weights", step)
        if len(self._seeds) == 1:
            return tf.cast(self._draw(tuple(shape), keys[0]), dtype or tf.float32)
        draws = [self._draw(tuple(shape)[1:], key) for key in tf.unstack(keys)]
        return tf.cast(tf.stack(draws), dtype or tf.float32)


def affine(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    """Returns x @ kernel + bias for every member of the stack.

    A batched matmul over few members is much slower than plain ones on a CPU,
    so there the members run one by one; a GPU takes them in one batch.

    Args:
      x: [*stack or ones, B, in].
      kernel: [*stack, in, units].
      bias: [*stack, units] or None.

    Returns:
      [*stack, B, units].
    """
    x = tf.convert_to_tensor(x)
    stack = kernel.shape[:-2].as_list()
    count = math.prod(stack)
    if not stack:
        return _affine(x, kernel, bias)
    if on_gpu() and count > 1:
        y = _product(x, kernel)
        return y if bias is None else y + bias[..., None, :]
    rows, kernels = _members(x, 2), _members(kernel, 2)
    biases = [None] * count if bias is None else _members(bias, 1)
    # Where x has fewer members (Q's twins share theirs), each serves a run of them.
    y = [
        _affine(rows[i * len(rows) // count], kernels[i], biases[i])
        for i in range(count)
    ]
    together = y[0] if count == 1 else tf.stack(y)
    return tf.reshape(together, [*stack, -1, kernel.shape[-1]])


def _affine(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    wide = max(kernel.shape) >= _WIDE and bias is not None
    plain = x.dtype == kernel.dtype and x.shape.rank == 2
    if wide and plain and not fused.is_ordinary() and not on_gpu():
        return _wide_affine(x, kernel, bias)
    y = _product(x, kernel)
    return y if bias is None else tf.nn.bias_add(y, bias)


@tf.custom_gradient
def _wide_affine(
    x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """The same on a CPU, each of its three products done in the faster way.

    oneDNN multiplies batches of matrices by another program than single matrices
    (brgemm, where there is AVX-512). A batch of one matrix is the faster where a
    wide input becomes a narrow output or gradient, and for the gradient of the kernel
    that is between them. Not for acting: calls of 64 rows gain nothing by it, and
    TFLite cannot convert all of it.
    """
    n_in, units = kernel.shape

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        dx = _product(upstream, kernel, n_in < units, transpose_b=True)
        dkernel = _product(x, upstream, units < n_in, transpose_a=True)
        return dx, dkernel, tf.raw_ops.BiasAddGrad(out_backprop=upstream)

    return tf.nn.bias_add(_product(x, kernel, units < n_in), bias), gradient


def _product(
    x: tf.Tensor, kernel: tf.Tensor, as_batch: bool = False, **transposed: bool
) -> tf.Tensor:
    """Multiplies in the kernel's precision; the casts of float32 are no ops."""
    factors = [tf.cast(x, kernel.dtype), kernel]
    if not as_batch:
        return tf.cast(tf.matmul(*factors, **transposed), x.dtype)
    factors = [tf.expand_dims(factor, 0) for factor in factors]
    return tf.cast(tf.squeeze(tf.matmul(*factors, **transposed), 0), x.dtype)


def _members(x: tf.Tensor, rank: int) -> list[tf.Tensor]:
    """Splits the leading axes off x, leaving `rank` axes.

    Unstacking (or reshaping, for one member) shares memory in both directions;
    indexing would build a zero tensor of x's size in every gradient.
    """
    count = math.prod(x.shape[:-rank].as_list())
    tail = [-1, x.shape[-1]][-rank:]
    if count == 1:
        return [tf.reshape(x, tail)]
    return tf.unstack(tf.reshape(x, [count, *tail]))


class StackedDense(keras.layers.Layer):
    """Affine layer [*stack, B, in_features] -> [*stack, B, units].

    Args:
      in_features: size of the last input axis.
      units: size of the last output axis.
      seeds: one seed per member.
      stack: leading axes of the weights; () for an ordinary layer.
      draw: `xavier_uniform` or `lecun_normal`.
      name: unique within the network; decides the initial weights.
    """

    def __init__(
        self,
        in_features: int,
        units: int,
        seeds: Sequence[int],
        stack: Sequence[int],
        draw: Callable = xavier_uniform,
        name: str = "dense",
    ) -> None:
        super().__init__(name=name.replace("/", "_"))
        self.kernel = self.add_weight(
            "kernel",
            (*stack, in_features, units),
            initializer=MemberInitializer(draw, seeds, name),
        )
        self.bias = self.add_weight("bias", (*stack, units), initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps x [*stack, B, in_features] to [*stack, B, units]."""
        return affine(x, self.kernel, self.bias)


def mlp_layers(
    sizes: Sequence[int], seeds: Sequence[int], stack: Sequence[int], name: str
) -> list[StackedDense]:
    """Returns Xavier-uniform layers through `sizes`, input size first."""
    return [
        StackedDense(n_in, n_out, seeds, stack, xavier_uniform, f"{name}/{i}")
        for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes))
    ]


def use_bfloat16(models: Sequence[keras.Model]) -> None:
    """Rounds the kernels of all dense layers to bfloat16, for products in it."""
    for model in models:
        for layer in model.submodules:
            if isinstance(layer, StackedDense):
                rounded = tf.cast(layer.kernel, tf.bfloat16)
                layer.kernel = tf.Variable(rounded, trainable=False)


def num_parameters(model: keras.Model) -> int:
    """Counts the weights of all members."""
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def weighted_mean(losses: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Mean of weights x losses over the last axis: [S, B] to [S]."""
    return tf.reduce_mean(losses if weights is None else weights * losses, -1)
