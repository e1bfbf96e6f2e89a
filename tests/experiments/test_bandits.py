import numpy as np
import pytest

from idql_tf.critic.objectives import Expectile, Exponential, Quantile
from idql_tf.experiments.bandits import implicit_actor, implicit_value

Q = np.random.default_rng(0).normal(size=501) + np.repeat([0.0, 2.0, 5.0], 167)


def test_values_have_their_closed_forms():
    assert implicit_value(Expectile(0.5), Q) == pytest.approx(Q.mean())
    assert implicit_value(Quantile(0.5), Q) == pytest.approx(np.median(Q))
    expected = np.log(np.mean(np.exp(0.7 * Q))) / 0.7
    assert implicit_value(Exponential(0.7, 1e300), Q) == pytest.approx(expected)


def test_an_expectile_by_another_way():
    value = implicit_value(Expectile(0.9), Q)
    weights = np.where(value < Q, 0.9, 0.1)
    assert value == pytest.approx(np.average(Q, weights=weights))


@pytest.mark.parametrize(
    "objective", [Expectile(0.9), Quantile(0.8), Exponential(1.0, 1e300)]
)
def test_the_actors_mean_is_the_value(objective):
    value, p = implicit_actor(objective, Q)
    assert p.sum() == pytest.approx(1.0) and p.min() >= 0
    assert p @ Q == pytest.approx(value, abs=1e-4)
    # Uniform weights, which the released exponential's formula amounts to, do not.
    assert abs(Q.mean() - value) > 0.5
