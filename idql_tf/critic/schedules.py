"""Schedules of an objective's parameter (tau or alpha) over the critic's V steps."""

from __future__ import annotations

import dataclasses
import math
import typing

import gin
import tensorflow as tf

from idql_tf.errors import check_count, check_number


@gin.configurable
@dataclasses.dataclass(frozen=True)
class LinearSchedule:
    """From `first` to `last` in a straight line over `steps` updates, then `last`.

    Raises:
      UserError: `steps` is no integer from 1 up.
    """

    first: float
    last: float
    steps: int

    def __post_init__(self) -> None:
        check_count(f"{type(self).__name__}.steps", self.steps)

    @property
    def limits(self) -> tuple[float, ...]:
        """The numbers between which it stays, `first` among them."""
        return self.first, self.last

    def following(
        self, value: tf.Tensor, step: tf.Tensor, share: tf.Tensor
    ) -> tf.Tensor:
        """The parameter after an update, [S].

        Args:
          value: the one that the update used, [S].
          step: V steps taken, this one among them.
          share: part of the batch's actions with Q > V, [S].
        """
        progress = tf.minimum(tf.cast(step, tf.float64) / self.steps, 1.0)
        number = self.first + (self.last - self.first) * self._shape(progress)
        return tf.fill(tf.shape(value), tf.cast(number, tf.float32))

    def _shape(self, progress: tf.Tensor) -> tf.Tensor:
        return progress


@gin.configurable
@dataclasses.dataclass(frozen=True)
class CosineSchedule(LinearSchedule):
    """As `LinearSchedule`, along half a cosine: slow at both ends."""

    def _shape(self, progress: tf.Tensor) -> tf.Tensor:
        return 0.5 - 0.5 * tf.cos(math.pi * progress)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class AdaptiveSchedule:
    """Moves each seed's parameter until a given share of the actions has Q > V.

    What a tau means depends on how the actions' Q are spread, which differs from task
    to task and while Q is learnt; a share does not. It is also what extraction needs:
    of N candidates none is better than V with the probability (1 - share)^N, so that
    a V with a smaller share promises more than the policy can find. A larger tau or
    alpha raises V, and the share falls. After every update

        parameter <- clip(parameter + rate (share - positive_share), least, most)

    with the share of the training batch, whose Q and V the update has computed.

    Raises:
      UserError: a number is out of range.
    """

    first: float
    positive_share: float
    rate: float
    least: float
    most: float

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_number(f"{name}.positive_share", self.positive_share, most=1.0)
        check_number(f"{name}.rate", self.rate)
        check_number(f"{name}.least", self.least)
        check_number(f"{name}.most", self.most)
        check_number(f"{name}.first", self.first, self.least, self.most)

    @property
    def limits(self) -> tuple[float, ...]:
        """The numbers between which it stays, `first` among them."""
        return self.first, self.least, self.most

    def following(
        self, value: tf.Tensor, step: tf.Tensor, share: tf.Tensor
    ) -> tf.Tensor:
        """As `LinearSchedule.following`; `step` does not matter."""
        moved = value + self.rate * (share - self.positive_share)
        return tf.clip_by_value(moved, self.least, self.most)


Schedule = LinearSchedule | CosineSchedule | AdaptiveSchedule
SCHEDULES = typing.get_args(Schedule)
