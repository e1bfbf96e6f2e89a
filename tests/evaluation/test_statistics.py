import itertools

import numpy as np
import pytest

from idql_tf.evaluation import statistics


def test_interquartile_mean_drops_a_quarter_at_each_end():
    assert statistics.interquartile_mean([0.0, 1.0, 3.0, 1000.0]) == 2.0
    assert statistics.interquartile_mean([7, -50, 1, 2, 3, 4, 5, 900]) == 3.5
    assert statistics.interquartile_mean(np.arange(10)) == 4.5


def test_interquartile_mean_below_four_seeds_is_the_mean():
    assert statistics.interquartile_mean([1.0, 2.0, 9.0]) == 4.0


def test_interquartile_mean_agrees_with_scipy():
    from scipy.stats import trim_mean

    values = np.random.default_rng(0).normal(size=(5, 13))
    expected = trim_mean(values, 0.25, axis=-1)
    np.testing.assert_allclose(statistics.interquartile_mean(values), expected)


@pytest.mark.parametrize("values", [[], [1.0, np.nan, 2.0], [np.inf]])
def test_values_must_be_there_and_finite(values):
    with pytest.raises(ValueError, match=r"at least one value|finite"):
        statistics.mean(values)


@pytest.mark.parametrize("seeds", [1, 2])
def test_no_interval_below_three_seeds(seeds):
    assert statistics.bootstrap_interval(np.arange(seeds)) is None


def test_three_seeds_give_their_range():
    # 27 resamples: the all-smallest one has mass 1/27 > 0.025.
    assert statistics.bootstrap_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)


def test_four_seeds_by_hand():
    # Values 0, 0, 0, 1: the mean is k / 4 with k binomial(4, 1/4), whose
    # distribution function at 0, 1, 2, 3 is 0.316, 0.738, 0.949, 0.996.
    assert statistics.bootstrap_interval([0.0, 0.0, 0.0, 1.0]) == (0.0, 0.75)
    assert statistics.bootstrap_interval([0, 0, 0, 1], confidence=0.8) == (0.0, 0.5)


def test_five_seeds_equal_a_plain_enumeration():
    values = [4.0, 8.5, 1.0, 7.0, 6.0]
    means = sorted(np.mean(r) for r in itertools.product(values, repeat=5))
    # The smallest mean with at least 2.5 % (97.5 %) of the 3125 at or below it.
    expected = (means[79 - 1], means[3047 - 1])
    assert statistics.bootstrap_interval(values) == pytest.approx(expected)


def test_ten_seeds_agree_with_the_binomial():
    # Ten seeds, five of them 1: the mean is binomial(10, 1/2) / 10, with
    # distribution function 0.011 at 1, 0.055 at 2, 0.945 at 7, 0.989 at 8.
    values = [0.0, 1.0] * 5
    assert statistics.bootstrap_interval(values) == pytest.approx((0.2, 0.8))


def test_same_input_same_interval_and_the_seed_matters():
    values = np.random.default_rng(1).normal(size=12)
    first = statistics.bootstrap_interval(values)
    assert first == statistics.bootstrap_interval(values)
    assert first != statistics.bootstrap_interval(values, seed=1)


def test_interval_of_another_statistic():
    values = [0.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0]
    # Zeros are binomial(8, 1/8): P(3 or more) = 0.067, P(4 or more) = 0.011, and
    # with three zeros one of the middle four is zero.
    found = statistics.bootstrap_interval(values, statistics.interquartile_mean)
    assert found == (7.5, 10.0)
    assert statistics.bootstrap_interval(values) == (6.25, 10.0)


def test_one_number_per_seed():
    with pytest.raises(ValueError, match="one number per seed"):
        statistics.bootstrap_interval(np.ones((3, 50)))
