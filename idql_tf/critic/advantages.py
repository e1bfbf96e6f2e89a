"""Weights of the behaviour model's loss by the action's advantage.

Advantage-weighted regression and its relatives (IDQL eq. 3 and appendix F.5). Each
maps u = min target Q - V, of any shape, to weights of that shape.
"""

from __future__ import annotations

import dataclasses
import math
import typing

import gin
import tensorflow as tf

from idql_tf.critic.objectives import Expectile
from idql_tf.errors import check_number


@gin.configurable
@dataclasses.dataclass(frozen=True)
class ExponentialAdvantage:
    """exp(temperature u), at most `maximum` (IQL's actor; released `exp_adv`).

    Raises:
      UserError: a number is not positive.
    """

    temperature: float
    maximum: float

    def __post_init__(self) -> None:
        check_number("ExponentialAdvantage.temperature", self.temperature, most=1e6)
        check_number("ExponentialAdvantage.maximum", self.maximum, 1e-6, 1e30)

    def __call__(self, u: tf.Tensor) -> tf.Tensor:
        """Returns the weights of advantages u."""
        most = tf.constant(math.log(self.maximum), u.dtype)
        return tf.exp(tf.minimum(self.temperature * u, most))


@gin.configurable
@dataclasses.dataclass(frozen=True)
class SoftAdvantage:
    """tau where u > 0, else 1 - tau: the expectile's own weights (`soft_adv`).

    Raises:
      UserError: tau is outside (0, 1).
    """

    tau: float

    def __post_init__(self) -> None:
        check_number("SoftAdvantage.tau", self.tau, 1e-6, 1.0 - 1e-6)

    def __call__(self, u: tf.Tensor) -> tf.Tensor:
        """Returns the weights of advantages u."""
        return Expectile(self.tau).implicit_weight(u)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class HardAdvantage:
    """1 where u >= threshold, else 0 (`hard_adv`).

    Raises:
      UserError: the threshold is no finite number.
    """

    threshold: float

    def __post_init__(self) -> None:
        check_number("HardAdvantage.threshold", self.threshold, least=-math.inf)

    def __call__(self, u: tf.Tensor) -> tf.Tensor:
        """Returns the weights of advantages u."""
        return tf.cast(u >= self.threshold, u.dtype)


AdvantageWeight = ExponentialAdvantage | SoftAdvantage | HardAdvantage
WEIGHTS = typing.get_args(AdvantageWeight)
