import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import FEW
from scipy import stats

from idql_tf.evaluation import statistics

# Small numbers too: equal resamples are where a quantile's rounding shows.
SCORES = st.one_of(
    st.lists(st.integers(-10_000, 10_000), min_size=3, max_size=9),
    st.lists(st.integers(-3, 3), min_size=3, max_size=9),
)
STATISTICS = st.sampled_from([statistics.mean, statistics.interquartile_mean])


def iqm(values):
    """The middle half's mean, one value after the other."""
    ordered = sorted(values)
    middle = ordered[len(values) // 4 : len(values) - len(values) // 4]
    return math.fsum(middle) / len(middle)


def plain(statistic):
    return iqm if statistic is statistics.interquartile_mean else np.mean


@FEW
@given(SCORES)
def test_interquartile_mean(scores):
    found = statistics.interquartile_mean(scores)
    assert found == pytest.approx(iqm(scores), abs=1e-9)
    assert found == pytest.approx(stats.trim_mean(scores, 0.25), abs=1e-9)


@FEW
@given(SCORES, STATISTICS, st.sampled_from([0.5, 0.8, 0.95]))
def test_interval_against_a_plain_bootstrap(scores, statistic, confidence):
    size = len(scores)
    if size <= 5:
        rows = list(itertools.product(range(size), repeat=size))
    else:
        rows = np.random.default_rng(3).integers(0, size, (400, size))
    values = np.array(scores, float)
    estimates = sorted(plain(statistic)(values[list(row)]) for row in rows)
    # The smallest estimate with at least this mass at or below it.
    tails = (1 - confidence) / 2, 1 - (1 - confidence) / 2
    places = [max(0, math.ceil(round(t * len(estimates), 9)) - 1) for t in tails]
    found = statistics.bootstrap_interval(scores, statistic, confidence, 400, seed=3)
    assert found == pytest.approx([estimates[k] for k in places], abs=1e-6)


@FEW
@given(SCORES, STATISTICS, st.integers(1, 50), st.integers(-500, 500))
def test_interval_moves_with_the_scores(scores, statistic, scale, offset):
    values = np.array(scores, float)
    low, high = statistics.bootstrap_interval(values, statistic, num_resamples=300)
    assert min(scores) - 1e-9 <= low <= high <= max(scores) + 1e-9
    moved = statistics.bootstrap_interval(
        scale * values + offset, statistic, num_resamples=300
    )
    assert moved == pytest.approx((scale * low + offset, scale * high + offset))


def test_interval_agrees_with_scipy():
    scores = np.random.default_rng(0).normal(50, 20, 12)
    theirs = stats.bootstrap(
        (scores,), np.mean, method="percentile", n_resamples=10_000, random_state=1
    ).confidence_interval
    # Two Monte Carlo estimates of the same quantiles.
    assert statistics.bootstrap_interval(scores) == pytest.approx(theirs, abs=0.8)
