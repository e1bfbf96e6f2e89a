"""The learner's own copy of `online`, on its device, where sampling costs a gather."""

from __future__ import annotations

import math
import os

import numpy as np
import tensorflow as tf

from idql_tf.critic.updates import CriticBatch
from idql_tf.errors import UserError, check_count
from idql_tf.nn import randomness
from idql_tf.replay.layout import COLUMNS, Sizes


class Mirror(tf.Module):
    """The newest transitions of S seeds, each packed into one row of W numbers.

    Args:
      sizes: of the transitions.
      capacity: transitions kept of each seed.

    Raises:
      UserError: they do not fit into memory.
    """

    def __init__(self, sizes: Sizes, capacity: int) -> None:
        super().__init__(name="mirror")
        # Rows are counted in int32.
        most = (2**31 - 1) // sizes.num_seeds
        check_count("finetune.capacity", capacity, most=most)
        self.capacity = capacity
        self._num_seeds = sizes.num_seeds
        self._widths = sizes.widths
        # Seed s has the rows from s * capacity: one gather serves all seeds.
        shape = [sizes.num_seeds * capacity, sum(self._widths)]
        self._rows = tf.Variable(_zeros(shape, capacity), trainable=False)
        self.inserted = tf.Variable(0, dtype=tf.int64, trainable=False)
        spec = tf.TensorSpec([None, sizes.num_seeds, shape[1]], tf.float32)
        self._append = tf.function(self._scatter, input_signature=[spec])

    @property
    def size(self) -> tf.Tensor:
        """Transitions it holds of each seed, int64."""
        return tf.minimum(self.inserted, self.capacity)

    def append(self, rows: np.ndarray) -> None:
        """Adds rows [n, S, W], the oldest first, in the place of the oldest."""
        # More than fit would meet in one scatter, in no order.
        for start in range(0, len(rows), self.capacity):
            self._append(tf.constant(rows[start : start + self.capacity]))

    def draw(self, keys: tf.Tensor, batch_size: int) -> CriticBatch:
        """Draws transitions uniformly, with replacement.

        Args:
          keys: stateless seeds [S, 2].
          batch_size: B, per seed; there must be a transition.

        Returns:
          A batch [S, B, ...].
        """
        return self.at(self.choose(keys, batch_size))

    def choose(self, keys: tf.Tensor, batch_size: int) -> tf.Tensor:
        """Places int32 [S, B] of what `draw` draws."""
        size = tf.cast(self.size, tf.int32)
        return randomness.integers(keys, [batch_size], size)

    def numbers(self, places: tf.Tensor) -> tf.Tensor:
        """Of transitions at places [S, B]: how many came before each, int64."""
        last = self.inserted - 1
        return last - (last - tf.cast(places, tf.int64)) % self.capacity

    def at(self, places: tf.Tensor) -> CriticBatch:
        """Transitions [S, B, ...] at places [S, B]."""
        first = tf.range(self._num_seeds)[:, None] * self.capacity
        rows = tf.gather(self._rows, first + places)
        parts = dict(zip(COLUMNS, tf.split(rows, self._widths, axis=-1), strict=True))
        parts["rewards"] = parts["rewards"][..., 0]
        parts["masks"] = parts["masks"][..., 0]
        return CriticBatch(**parts)

    def _scatter(self, rows: tf.Tensor) -> None:
        count = tf.shape(rows, tf.int64)[0]
        place = (self.inserted + tf.range(count)) % self.capacity
        first = tf.range(self._num_seeds, dtype=tf.int64) * self.capacity
        index = place[:, None] + first
        flat = tf.reshape(rows, [-1, sum(self._widths)])
        self._rows.scatter_nd_update(tf.reshape(index, [-1, 1]), flat)
        self.inserted.assign_add(count)


def _zeros(shape: list[int], capacity: int) -> tf.Tensor:
    num_bytes = 4 * math.prod(shape)
    try:
        # The system may promise more than there is, and kill who believes it.
        if num_bytes > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
            raise MemoryError
        return tf.zeros(shape)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise UserError(
            f"finetune.capacity is {capacity:,}, which takes {num_bytes / 2**30:,.1f} "
            "GiB; expected what fits into memory"
        ) from error
