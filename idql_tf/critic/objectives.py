"""The implicit value objectives f(u) on u = Q - V (IDQL section 4, appendix C).

Minimising E[f(Q - V)] over V makes V the value of an implicit actor whose
weight on an action is |f'(u)| / |u| (Theorem 4.1). All three classes work on
tensors or arrays of any shape and keep their dtype.
"""

from __future__ import annotations

import dataclasses
import math

import gin
import tensorflow as tf

from idql_tf.errors import UserError

# Keeps the weight of an action finite where its advantage is exactly zero.
ADVANTAGE_EPSILON = 1e-6
# Keeps the exponential weight finite in float32, beyond any ratio that matters.
LARGEST_EXPONENT = 60.0


def _asymmetry(u: tf.Tensor, tau: float) -> tf.Tensor:
    """Returns |tau - 1(u <= 0)|."""
    high, low = tf.constant(tau, u.dtype), tf.constant(1.0 - tau, u.dtype)
    return tf.where(u > 0, high, low)


def _check_tau(tau: float) -> None:
    if not 0.0 < tau < 1.0:
        raise UserError(f"tau is {tau}; expected a number strictly within (0, 1)")


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Expectile:
    """Asymmetric squared error; V is the tau-expectile of Q (IDQL eq. 8).

    Raises:
      UserError: tau is outside (0, 1).
    """

    tau: float

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
class Quantile:
    """Asymmetric absolute error; V is the tau-quantile of Q (IDQL eq. 9).

    Raises:
      UserError: tau is outside (0, 1).
    """

    tau: float

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
class Exponential:
    """Linex error; V is (1/alpha) log E[exp(alpha Q)] (IDQL eq. 10, appendix C).

    `loss` and `gradient` cap the exponential at `max_exponential` (the released
    code's 6, which the paper does not mention) so that one large error cannot
    dominate a batch; above the cap the loss goes on linearly. The implicit
    weight is the paper's, capped only where float32 would overflow.

    Raises:
      UserError: alpha is not positive or max_exponential not above 1.
    """

    alpha: float
    max_exponential: float = 6.0

    def __post_init__(self) -> None:
        if not self.alpha > 0.0:
            raise UserError(f"alpha is {self.alpha}; expected a positive number")
        if not self.max_exponential > 1.0:
            raise UserError(
                f"max_exponential is {self.max_exponential}; expected above 1"
            )

    def loss(self, u: tf.Tensor) -> tf.Tensor:
        """Returns f(u) = exp(alpha u) - alpha u, linear above the cap."""
        z = self.alpha * tf.convert_to_tensor(u)
        cap = tf.constant(math.log(self.max_exponential), z.dtype)
        below = tf.exp(tf.minimum(z, cap))
        return below + self.max_exponential * tf.nn.relu(z - cap) - z

    def gradient(self, u: tf.Tensor) -> tf.Tensor:
        """Returns f'(u) = alpha (min(exp(alpha u), max_exponential) - 1)."""
        z = self.alpha * tf.convert_to_tensor(u)
        cap = tf.constant(math.log(self.max_exponential), z.dtype)
        return self.alpha * tf.math.expm1(tf.minimum(z, cap))

    def is_capped(self, u: tf.Tensor) -> tf.Tensor:
        """Returns where exp(alpha u) is above the cap, bool."""
        return self.alpha * tf.convert_to_tensor(u) > math.log(self.max_exponential)

    def implicit_weight(self, u: tf.Tensor) -> tf.Tensor:
        """Returns alpha |exp(alpha u) - 1| / |u|, alpha^2 at zero (IDQL eq. 12)."""
        u = tf.convert_to_tensor(u)
        near_zero = tf.abs(u) < ADVANTAGE_EPSILON
        safe = tf.where(near_zero, tf.ones_like(u), u)
        # The error itself is capped: capping the exponential alone would make
        # still larger errors weigh less.
        safe = tf.minimum(safe, LARGEST_EXPONENT / self.alpha)
        weight = self.alpha * tf.math.expm1(self.alpha * safe) / safe
        return tf.where(
            near_zero, tf.fill(tf.shape(u), _like(self.alpha**2, u)), weight
        )


def _like(value: float, u: tf.Tensor) -> tf.Tensor:
    return tf.constant(value, u.dtype)


Objective = Expectile | Quantile | Exponential
