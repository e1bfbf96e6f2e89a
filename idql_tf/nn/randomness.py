"""Randomness as a function of (seed, stream, step), with nothing to save.

Every draw is stateless Philox, the same with and without XLA. A member of a
stack draws with its own seed, so it sees the numbers it would see alone.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import tensorflow as tf

from idql_tf.nn import fused

ALGORITHM = "philox"
_STEP_BITS = 40


def keys(seeds: tf.Tensor, stream: str, step: tf.Tensor | int) -> tf.Tensor:
    """Returns the stateless seeds [S, 2] of one stream at one step.

    Args:
      seeds: int64 [S], one seed per member.
      stream: name of the purpose; its CRC tells the streams apart.
      step: int64 scalar, below 2**40.
    """
    stream_id = zlib.crc32(stream.encode()) & 0x7FFFFF
    word = tf.constant(stream_id << _STEP_BITS, tf.int64) + tf.cast(step, tf.int64)
    seeds = tf.cast(seeds, tf.int64)
    return tf.stack([seeds, tf.broadcast_to(word, tf.shape(seeds))], axis=-1)


def per_member(draw: Callable[[tf.Tensor], tf.Tensor], keys_: tf.Tensor) -> tf.Tensor:
    """Stacks `draw(key)` over the members of `keys_` [S, 2]; S must be static."""
    if keys_.shape[0] == 1:
        return draw(keys_[0])[None]
    return tf.stack([draw(key) for key in tf.unstack(keys_)])


def bits(keys_: tf.Tensor, shape: list) -> tf.Tensor:
    """Random words int32 [S, *shape], all values equally likely."""
    return per_member(
        lambda key: tf.random.stateless_uniform(
            shape, key, None, None, tf.int32, alg=ALGORITHM
        ),
        keys_,
    )


def short_bits(keys_: tf.Tensor, shape: list) -> tf.Tensor:
    """Random int16 [S, *shape], two from each word: half the time of words."""
    *rows, count = shape
    num_words = -(-count // 2)
    words = bits(keys_, [*rows, num_words])
    shorts = tf.bitcast(words, tf.int16)
    return tf.reshape(shorts, [words.shape[0], *rows, 2 * num_words])[..., :count]


# TensorFlow makes floats from Philox words in one way, XLA in another. These two
# are built from the words themselves, so compiling changes no draw.
def _unit(words: tf.Tensor) -> tf.Tensor:
    """Maps words to the centres of 2**23 equal parts of (0, 1)."""
    low = tf.bitwise.bitwise_and(words, 0x7FFFFF)
    return (tf.cast(low, tf.float32) + 0.5) * 2.0**-23


@fused.one_pass
def _box_muller(words: tf.Tensor) -> tf.Tensor:
    radius = tf.sqrt(-2.0 * tf.math.log(_unit(words[:, 0])))
    return radius * tf.cos(2.0 * math.pi * _unit(words[:, 1]))


def uniform(keys_: tf.Tensor, shape: list) -> tf.Tensor:
    """Uniform draws [S, *shape] strictly between 0 and 1."""
    return _unit(bits(keys_, shape))


def normal(keys_: tf.Tensor, shape: list) -> tf.Tensor:
    """Standard normal draws [S, *shape] (Box and Muller 1958)."""
    return _box_muller(bits(keys_, [2, *shape]))


def integers(keys_: tf.Tensor, shape: list, maximum: tf.Tensor | int) -> tf.Tensor:
    """Uniform int32 draws [S, *shape] in {0, ..., maximum - 1}."""
    return per_member(
        lambda key: tf.random.stateless_uniform(
            shape, key, 0, maximum, tf.int32, alg=ALGORITHM
        ),
        keys_,
    )
