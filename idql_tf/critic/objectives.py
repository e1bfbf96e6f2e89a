"""The implicit value objectives f(u) on u = Q - V (IDQL section 4, appendix C).

Minimising E[f(Q - V)] over V makes V the value of an implicit actor whose
weight on an action is |f'(u)| / |u| (Theorem 4.1). All three classes work on
tensors or arrays of any shape and keep their dtype.

The first field, tau or alpha, may be a schedule (`schedules`) instead of a number. Such
an objective has its functions once `at` has put in what the parameter is at present.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any, TypeAlias

import gin
import tensorflow as tf

from idql_tf.critic.schedules import SCHEDULES, Schedule
from idql_tf.errors import UserError

# Keeps the weight of an action finite where its advantage is exactly zero.
ADVANTAGE_EPSILON = 1e-6
# Keeps the exponential weight finite in float32, beyond any ratio that matters.
LARGEST_EXPONENT = 60.0


# A tensor [S] has a number for each member of u's first axis.
Parameter: TypeAlias = "float | Schedule | tf.Tensor"


def _asymmetry(u: tf.Tensor, tau: Parameter) -> tf.Tensor:
    """Returns |tau - 1(u <= 0)|."""
    tau = _beside(u, tau)
    high, low = (tf.convert_to_tensor(x, u.dtype) for x in (tau, 1.0 - tau))
    return tf.where(u > 0, high, low)


def _beside(u: tf.Tensor, parameter: Parameter) -> tf.Tensor | float:
    """A number as it is, numbers [S] shaped to multiply u [S, ...]."""
    if not tf.is_tensor(parameter):
        return parameter
    return tf.reshape(parameter, [-1] + [1] * (u.shape.rank - 1))


def _check(name: str, parameter: Parameter, most: float, expected: str) -> None:
    """Refuses what is not strictly between 0 and `most`; a tensor is not looked at."""
    if tf.is_tensor(parameter):
        return
    found: tuple[Any, ...] = (parameter,)
    if isinstance(parameter, SCHEDULES):
        name, found = f"{name} of {type(parameter).__name__}", parameter.limits
    for number in found:
        if not (isinstance(number, numbers.Real) and 0.0 < float(number) < most):
            raise UserError(
                f"{name} is {number!r:.60}; expected {expected}, or a schedule of such "
                "numbers, as @LinearSchedule()"
            )


def _check_tau(tau: Parameter) -> None:
    _check("tau", tau, 1.0, "a number strictly within (0, 1)")


class _Parametric:
    """An objective whose first field is its parameter."""

    @property
    def parameter(self: Any) -> Parameter:
        """tau or alpha."""
        return getattr(self, dataclasses.fields(self)[0].name)

    def at(self: Any, value: tf.Tensor) -> Any:
        """The objective with parameters [S], one for each member of u's first axis."""
        return dataclasses.replace(self, **{dataclasses.fields(self)[0].name: value})


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Expectile(_Parametric):
    """Asymmetric squared error; V is the tau-expectile of Q (IDQL eq. 8).

    Raises:
      UserError: tau is outside (0, 1).
    """

    tau: Parameter

    def __post_init__(self) -> None:
        _check_tau(self.tau)

    def loss(self, u: tf.Tensor) -> tf.Tensor:
        """Returns f(u) = |tau - 1(u <= 0)| u^2."""
        u = tf.convert_to_tensor(u)
        return _asymmetry(u, self.tau) * u * u

    def gradient(self, u: tf.Tensor) -> tf.Tensor:
        """Returns f'(u) = 2 |tau - 1(u <= 0)| u."""
        u = tf.convert_to_tensor(u)
        return 2.0 * _asymmetry(u, self.tau) * u

    def implicit_weight(self, u: tf.Tensor) -> tf.Tensor:
        """Returns |f'(u)| / |u| up to a constant: tau above zero, 1 - tau below."""
        return _asymmetry(tf.convert_to_tensor(u), self.tau)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Quantile(_Parametric):
    """Asymmetric absolute error; V is the tau-quantile of Q (IDQL eq. 9).

    Raises:
      UserError: tau is outside (0, 1).
    """

    tau: Parameter

    def __post_init__(self) -> None:
        _check_tau(self.tau)

    def loss(self, u: tf.Tensor) -> tf.Tensor:
        """Returns f(u) = |tau - 1(u <= 0)| |u|."""
        u = tf.convert_to_tensor(u)
        return _asymmetry(u, self.tau) * tf.abs(u)

    def gradient(self, u: tf.Tensor) -> tf.Tensor:
        """Returns f'(u) = |tau - 1(u <= 0)| sign(u)."""
        u = tf.convert_to_tensor(u)
        return _asymmetry(u, self.tau) * tf.sign(u)

    def implicit_weight(self, u: tf.Tensor) -> tf.Tensor:
        """Returns |tau - 1(u <= 0)| / |u|, with |u| at least 1e-6 (IDQL eq. 11)."""
        u = tf.convert_to_tensor(u)
        return _asymmetry(u, self.tau) / tf.maximum(tf.abs(u), ADVANTAGE_EPSILON)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Exponential(_Parametric):
    """Linex error; V is (1/alpha) log E[exp(alpha Q)] (IDQL eq. 10, appendix C).

    `loss` and `gradient` cap the exponential at `max_exponential` (the released
    code's 6, which the paper does not mention) so that one large error cannot
    dominate a batch; above the cap the loss goes on linearly. The implicit
    weight is the paper's, capped only where float32 would overflow.

    Raises:
      UserError: alpha is not positive or max_exponential not above 1.
    """

    alpha: Parameter
    max_exponential: float = 6.0

    def __post_init__(self) -> None:
        _check("alpha", self.alpha, math.inf, "a positive number")
        if not self.max_exponential > 1.0:
            raise UserError(
                f"max_exponential is {self.max_exponential}; expected above 1"
            )

    def loss(self, u: tf.Tensor) -> tf.Tensor:
        """Returns f(u) = exp(alpha u) - alpha u, linear above the cap."""
        u = tf.convert_to_tensor(u)
        z = _beside(u, self.alpha) * u
        cap = tf.constant(math.log(self.max_exponential), z.dtype)
        below = tf.exp(tf.minimum(z, cap))
        return below + self.max_exponential * tf.nn.relu(z - cap) - z

    def gradient(self, u: tf.Tensor) -> tf.Tensor:
        """Returns f'(u) = alpha (min(exp(alpha u), max_exponential) - 1)."""
        u = tf.convert_to_tensor(u)
        alpha = _beside(u, self.alpha)
        z = alpha * u
        cap = tf.constant(math.log(self.max_exponential), z.dtype)
        return alpha * tf.math.expm1(tf.minimum(z, cap))

    def is_capped(self, u: tf.Tensor) -> tf.Tensor:
        """Returns where exp(alpha u) is above the cap, bool."""
        u = tf.convert_to_tensor(u)
        return _beside(u, self.alpha) * u > math.log(self.max_exponential)

    def implicit_weight(self, u: tf.Tensor) -> tf.Tensor:
        """Returns alpha |exp(alpha u) - 1| / |u|, alpha^2 at zero (IDQL eq. 12)."""
        u = tf.convert_to_tensor(u)
        alpha = _beside(u, self.alpha)
        near_zero = tf.abs(u) < ADVANTAGE_EPSILON
        safe = tf.where(near_zero, tf.ones_like(u), u)
        # The error itself is capped: capping the exponential alone would make
        # still larger errors weigh less.
        safe = tf.minimum(safe, LARGEST_EXPONENT / alpha)
        weight = alpha * tf.math.expm1(alpha * safe) / safe
        return tf.where(near_zero, tf.convert_to_tensor(alpha**2, u.dtype), weight)


Objective = Expectile | Quantile | Exponential
