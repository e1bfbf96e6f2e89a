import numpy as np
import pytest
import tensorflow as tf

from idql_tf.critic.advantages import (
    ExponentialAdvantage,
    HardAdvantage,
    SoftAdvantage,
)
from idql_tf.errors import UserError

U = tf.constant([-1.0, -0.02, -0.01, 0.0, 0.5, 3.0])


@pytest.mark.parametrize(
    "weigh, expected",
    [
        (ExponentialAdvantage(3.0, 100.0), [*np.exp([-3, -0.06, -0.03, 0, 1.5]), 100]),
        (SoftAdvantage(0.7), [0.3, 0.3, 0.3, 0.3, 0.7, 0.7]),
        (HardAdvantage(-0.01), [0, 0, 1, 1, 1, 1]),
    ],
)
def test_weights_by_hand(weigh, expected):
    np.testing.assert_allclose(weigh(U), expected, rtol=1e-6)


def test_a_huge_advantage_does_not_overflow():
    assert float(ExponentialAdvantage(10.0, 100.0)(tf.constant(1e6))) == pytest.approx(
        100.0
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: ExponentialAdvantage(-1.0, 100.0),
        lambda: ExponentialAdvantage(3.0, 0.0),
        lambda: SoftAdvantage(1.0),
        lambda: HardAdvantage(float("nan")),
    ],
)
def test_numbers_that_mean_nothing_are_refused(make):
    with pytest.raises(UserError, match="expected"):
        make()
