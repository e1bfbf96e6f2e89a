"""Many updates in one program, and what is looked at when they are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from idql_tf.behavior.model import BehaviorModel

if TYPE_CHECKING:
    from idql_tf.training.learner import IdqlLearner

Metrics = dict[str, tf.Tensor]

_ROOMS = ("critic", "behavior")


class NotFinite(FloatingPointError):
    """Losses or statistics of an update are not finite.

    Attributes:
      room: 'critic' or 'behavior'.
      member: whose, of the S seeds.
      update: number of the first such update of this member, from 0.
    """

    def __init__(self, room: str, member: int, update: int) -> None:
        self.room, self.member, self.update = room, member, update
        super().__init__(
            f"a loss of {room} update {update:,} is not finite, member {member}"
        )


def run_block(
    update_critic: Callable[[], Metrics],
    update_behavior: Callable[[], Metrics],
    counts: tf.Tensor,
    learner: IdqlLearner,
) -> Metrics:
    """Runs updates in the graph, first the critic's, then the behaviour model's.

    Where these are weighted by the critic, they are spread evenly over its updates,
    each after those before it.

    Args:
      update_critic: takes one update and returns `Critic.metrics`, [S] each.
      update_behavior: the same of `BehaviorModel`.
      counts: int32 [2], how often each is run.
      learner: whose updates they are.

    Returns:
      Means over the block, [S], named 'critic/...' and 'behavior/...'; for `checked`
      also '.../finite', the updates before the first with a non-finite metric.
    """
    names = learner.critic.metrics, BehaviorModel.METRICS
    one, other = zip((update_critic, update_behavior), names, strict=True)
    num_seeds, in_turns = len(learner.seeds), learner.behavior_weight is not None
    none = tf.zeros(num_seeds, tf.int64)
    zeros = [[none, *[tf.zeros(num_seeds)] * len(n)] for n in names]
    # In int64, for a product of two of them.
    counts = tf.cast(counts, tf.int64)
    turns = tf.maximum(counts[0], 1) if in_turns else 1

    def turn(i: tf.Tensor, critic: Sequence, behavior: Sequence) -> tuple:
        first, last = ([n * k // turns for n in tf.unstack(counts)] for k in (i, i + 1))
        critic = _repeat(*one, first[0], last[0], critic)
        behavior = _repeat(*other, first[1], last[1], behavior)
        return i + 1, critic, behavior

    if in_turns:
        _, *sums = tf.while_loop(
            lambda i, *_: i < turns,
            turn,
            (tf.constant(0, tf.int64), *zeros),
            parallel_iterations=1,
        )
    else:
        _, *sums = turn(0, *zeros)
    divisors = tf.unstack(tf.cast(tf.maximum(counts, 1), tf.float32))
    means = {}
    for room, of_room, (finite, *totals), divisor in zip(
        _ROOMS, names, sums, divisors, strict=True
    ):
        means[f"{room}/finite"] = finite
        for name, total in zip(of_room, totals, strict=True):
            means[f"{room}/{name}"] = total / divisor
    return means


def checked(metrics: Metrics, counts: tf.Tensor, learner: IdqlLearner) -> Metrics:
    """What a block's metrics say; those of updates of which it had none are left out.

    Raises:
      NotFinite: one of them is not finite.
    """
    found: Metrics = {}
    steps = learner.critic_step, learner.behavior_step
    for room, count, step in zip(_ROOMS, counts.numpy(), steps, strict=True):
        finite = metrics[f"{room}/finite"].numpy()
        if finite.min() < count:
            update = int(step) - int(count) + int(finite.min())
            raise NotFinite(room, int(finite.argmin()), update)
        if count:
            found |= {
                name: value
                for name, value in metrics.items()
                if name.startswith(f"{room}/") and name != f"{room}/finite"
            }
    return found


def _repeat(
    update: Callable[[], Metrics],
    names: Sequence[str],
    first: tf.Tensor,
    last: tf.Tensor,
    sums: Sequence[tf.Tensor],
) -> Sequence[tf.Tensor]:
    """Runs updates `first` to `last` in the graph; adds to `sums`.

    These are the number of updates before the first that is not finite, and the sum
    of each metric, [S].
    """

    def step(i: tf.Tensor, finite: tf.Tensor, *sums: tf.Tensor) -> tuple:
        metrics = update()
        values = [metrics[name] for name in names]
        is_finite = tf.math.is_finite(tf.add_n(values))
        finite += tf.cast(is_finite & (finite == i), tf.int64)
        return i + 1, finite, *map(tf.add, sums, values)

    _, *sums = tf.while_loop(
        lambda i, *_: i < last,
        step,
        (tf.cast(first, tf.int64), *sums),
        parallel_iterations=1,
    )
    return sums
