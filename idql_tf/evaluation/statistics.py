"""Means and bootstrap intervals over independent seeds.

A seed is one training run, the only independent unit of an experiment:
episodes of one trained policy share its luck. Every function here takes one
number per seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

MIN_SEEDS_FOR_INTERVAL = 3
_LARGEST_ENUMERATION = 5
# One chunk of resamples holds at most this many numbers.
_CHUNK = 4_000_000

Statistic = Callable[[np.ndarray], np.ndarray]


def mean(values: np.ndarray | Sequence[float]) -> np.ndarray:
    """Mean over the last axis: [..., S] -> [...]."""
    return np.mean(_checked(values), axis=-1)


def interquartile_mean(values: np.ndarray | Sequence[float]) -> np.ndarray:
    """Mean of the middle half over the last axis: [..., S] -> [...].

    floor(S / 4) values are dropped at each end, as in rliable (Agarwal et al.
    2021) and `scipy.stats.trim_mean(x, 0.25)`; below 4 seeds it is the mean.

    Raises:
      ValueError: there is no value, or one is not finite.
    """
    ordered = np.sort(_checked(values), axis=-1)
    size = ordered.shape[-1]
    cut = size // 4
    return np.mean(ordered[..., cut : size - cut], axis=-1)


def bootstrap_interval(
    values: np.ndarray | Sequence[float],
    statistic: Statistic = mean,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of a statistic over seeds.

    Up to 5 seeds all S**S resamples are enumerated, so the bounds are exact
    quantiles of the bootstrap distribution; with 3 seeds that is the range of
    the three. Above 5, `num_resamples` are drawn from a generator seeded with
    `seed`: the same input always gives the same bounds.

    Args:
      values: one finite number per seed, [S].
      statistic: maps resamples [R, S] to [R].
      confidence: mass between the two bounds, in (0, 1).
      num_resamples: number drawn where enumeration would be too large.
      seed: seed of the draws.

    Returns:
      (lower, upper), or None below 3 seeds, where a bootstrap says nothing.

    Raises:
      ValueError: `values` is not one-dimensional, or one is not finite.
    """
    array = _checked(values)
    if array.ndim != 1:
        raise ValueError(f"one number per seed expected, found shape {array.shape}")
    if array.size < MIN_SEEDS_FOR_INTERVAL:
        return None
    if array.size <= _LARGEST_ENUMERATION:
        rows = itertools.product(range(array.size), repeat=array.size)
        estimates = statistic(array[np.array(list(rows))])
    else:
        estimates = _drawn(array, statistic, num_resamples, seed)
    # Rounded: 1 - 0.95 is 0.05000000000000004, which is the next outcome wherever
    # the tail holds a whole number of estimates.
    tail = round((1.0 - confidence) / 2.0, 12)
    # The inverse of the step-shaped distribution function: no interpolation
    # between outcomes, so a bound is never tighter than the resamples allow.
    tails = [tail, round(1.0 - tail, 12)]
    lower, upper = np.quantile(estimates, tails, method="inverted_cdf")
    return float(lower), float(upper)


def _drawn(
    array: np.ndarray, statistic: Statistic, num_resamples: int, seed: int
) -> np.ndarray:
    generator = np.random.default_rng(seed)
    per_chunk = max(1, _CHUNK // array.size)
    estimates = []
    for start in range(0, num_resamples, per_chunk):
        count = min(per_chunk, num_resamples - start)
        rows = generator.integers(0, array.size, size=(count, array.size))
        estimates.append(statistic(array[rows]))
    return np.concatenate(estimates)


def _checked(values: np.ndarray | Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError("at least one value is needed, found none")
    if not np.isfinite(array).all():
        raise ValueError(f"finite values expected, found {array}")
    return array
