"""Cross-entropy refinement: from the best plausible action to a better one nearby.

The cross-entropy method (Rubinstein 1999) draws actions from a Gaussian, fits the next
Gaussian to those with the largest Q, and so on. Free to move, it would end where the
critic errs upwards, for the critic knows the data's actions alone. So it moves within
a box around the best candidate. Not around the candidates' mean: a behaviour model
may have several modes, and between two of them lies what the data never do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import gin
import tensorflow as tf

from idql_tf.errors import check_count, check_number
from idql_tf.nn import randomness


@gin.configurable("refine")
@dataclasses.dataclass(frozen=True)
class Settings:
    """How candidates are refined.

    Attributes:
      iterations: Gaussians drawn from, each N times.
      elite_fraction: part of the N draws that the next Gaussian is fitted to; of the
        candidates, the part that counts as the best one's neighbours.
      noise_floor: least deviation of a Gaussian, as a part of the first one's.
      trust: half the box's width in each dimension, in deviations of the first
        Gaussian; 0 leaves the best candidate as it is.

    Raises:
      UserError: a number is out of range.
    """

    iterations: int = 3
    elite_fraction: float = 0.25
    noise_floor: float = 0.1
    trust: float = 1.0

    def __post_init__(self) -> None:
        # Unrolled in the graph.
        check_count("refine.iterations", self.iterations, most=100)
        check_number("refine.elite_fraction", self.elite_fraction, 1e-6, 1.0)
        check_number("refine.noise_floor", self.noise_floor, most=1.0)
        check_number("refine.trust", self.trust, most=1e6)


def refine(
    actions: tf.Tensor,
    q: tf.Tensor,
    values: Callable[[tf.Tensor], tf.Tensor],
    keys: tf.Tensor,
    settings: Settings,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Searches near the best candidate for an action with a larger Q.

    The first Gaussian has the best candidate as its mean and `neighborhood` as its
    deviation. All draws are clipped to [-1, 1] and to the box of half-width `trust` x
    `neighborhood` around the best candidate.

    Args:
      actions: candidates [S, B, N, A].
      q: their Q [S, B, N].
      values: maps actions [S, B, N, A] to their Q.
      keys: stateless seeds [S, 2].
      settings: see `Settings`.

    Returns:
      The best action seen, candidates included, [S, B, A], and its Q [S, B].
    """
    batch, num, size = tf.unstack(tf.shape(actions)[1:])
    num_elites = _part(settings.elite_fraction, num)
    centre, best_q = _take_best(actions, q, 1)
    first = neighborhood(actions, centre, num_elites)
    low = tf.maximum(centre - settings.trust * first, -1.0)
    high = tf.minimum(centre + settings.trust * first, 1.0)
    best, mean, deviation = centre, centre, first
    shape = [settings.iterations, batch, num, size]
    for noise in tf.unstack(randomness.normal(keys, shape), axis=1):
        drawn = tf.clip_by_value(mean + deviation * noise, low, high)
        elites, elite_q = _take_best(drawn, values(drawn), num_elites)
        better = elite_q[..., :1] > best_q
        best = tf.where(better[..., None], elites[:, :, :1], best)
        best_q = tf.where(better, elite_q[..., :1], best_q)
        mean = tf.reduce_mean(elites, 2, keepdims=True)
        fitted = tf.math.reduce_std(elites, 2, keepdims=True)
        deviation = tf.maximum(fitted, settings.noise_floor * first)
    return best[:, :, 0], best_q[..., 0]


def neighborhood(actions: tf.Tensor, centre: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """How far the behaviour model scatters around one of its candidates.

    Per dimension, the root mean square distance from `centre` of its `count` nearest
    candidates, itself among them: the deviation of its own mode. At most the deviation
    of all candidates, so that an outlier's neighbours, which are far, do not count.

    Args:
      actions: [S, B, N, A].
      centre: one of them, [S, B, 1, A].
      count: from 1 to N.

    Returns:
      [S, B, 1, A]; 0 with a single candidate.
    """
    squares = tf.square(actions - centre)
    near, _ = _take_best(squares, -tf.reduce_sum(squares, -1), count)
    local = tf.sqrt(tf.reduce_mean(near, 2, keepdims=True))
    return tf.minimum(local, tf.math.reduce_std(actions, 2, keepdims=True))


def _part(fraction: float, num: tf.Tensor) -> tf.Tensor:
    """At least 1 of `num`."""
    return tf.maximum(
        tf.cast(tf.round(fraction * tf.cast(num, tf.float32)), tf.int32), 1
    )


def _take_best(
    rows: tf.Tensor, scores: tf.Tensor, count: tf.Tensor | int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Of rows [S, B, N, A] those `count` with the largest scores [S, B, N], sorted."""
    top = tf.math.top_k(scores, count)
    return tf.gather(rows, top.indices, axis=2, batch_dims=2), top.values
