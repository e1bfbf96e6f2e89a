"""S seeds trained by one program that runs a block of updates per call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gin
import tensorflow as tf

from idql_tf.behavior.model import BehaviorModel
from idql_tf.critic.advantages import WEIGHTS, AdvantageWeight
from idql_tf.critic.updates import Critic
from idql_tf.errors import UserError, check_count
from idql_tf.nn import dense, randomness
from idql_tf.training.arrays import DeviceArrays, behavior_batch, critic_batch

Metrics = dict[str, tf.Tensor]


@gin.configurable(denylist=["observation_size", "action_size", "seeds"])
class IdqlLearner(tf.Module):
    """Critic and behaviour model of S seeds and their compiled training block.

    Args:
      observation_size: D.
      action_size: A.
      seeds: training seeds, one per member of the stack.
      critic_batch_size: transitions per critic update and seed.
      behavior_batch_size: transitions per behaviour update and seed.
      validation_batch_size: held-out transitions per validation, at most.
      behavior: `Behavior` or `GaussianBehavior`.
      behavior_weight: of each action's loss, by its advantage (IDQL eq. 3, appendix
        F.5); None weighs all alike, and critic and behaviour model never meet.
      tensor_float_32: let a GPU round matmul inputs to 10 bits (faster; the
        reference ran without).
      xla: compile with XLA; None does where it is faster, that is on a GPU
        (launch/benchmark.py measures both).
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        seeds: Sequence[int],
        critic_batch_size: int,
        behavior_batch_size: int,
        validation_batch_size: int,
        behavior: Callable[..., BehaviorModel],
        behavior_weight: AdvantageWeight | None,
        tensor_float_32: bool = False,
        xla: bool | None = None,
    ) -> None:
        super().__init__(name="learner")
        for name, size in (
            ("critic_batch_size", critic_batch_size),
            ("behavior_batch_size", behavior_batch_size),
            ("validation_batch_size", validation_batch_size),
        ):
            check_count(f"IdqlLearner.{name}", size)
        _check_parts(behavior, behavior_weight)
        tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)
        self.seeds = tuple(int(seed) for seed in seeds)
        self._seeds = tf.constant(self.seeds, tf.int64)
        sizes = (observation_size, action_size, self.seeds)
        self.critic = Critic(*sizes)
        self.behavior = behavior(*sizes)
        self.behavior_weight = behavior_weight
        self.critic_step = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Environment steps of finetuning, of each seed; 0 before it.
        self.env_step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.critic_batch_size = critic_batch_size
        self.behavior_batch_size = behavior_batch_size
        self._validation_batch_size = validation_batch_size
        self._block = dense.compiled(self._train, xla)
        self._validate = dense.compiled(self._validation_losses, xla)

    @property
    def behavior_step(self) -> tf.Variable:
        """Behaviour updates taken."""
        return self.behavior.optimizer.step

    def train(
        self, arrays: DeviceArrays, critic_updates: int, behavior_updates: int
    ) -> dict[str, tf.Tensor]:
        """Takes the updates in one compiled call.

        Returns:
          Metric means over the block, [S] each, named 'critic/...' and
          'behavior/...'.
        """
        counts = tf.constant([critic_updates, behavior_updates], tf.int32)
        return taken(self._block(arrays, counts), counts)

    def validate(self, arrays: DeviceArrays) -> Metrics:
        """Losses on held-out transitions, [S] each; changes nothing.

        The batch and the draws are the same at every call, dropout is off, and
        the behaviour loss is the averaged network's.
        """
        if not len(arrays.validation):
            return {}
        return self._validate(arrays)

    def update_critic(self, arrays: DeviceArrays) -> Metrics:
        """One critic update on a batch drawn from the training part."""
        chosen = self._draw("critic/batch", self.critic_step, self.critic_batch_size)
        batch = critic_batch(arrays, tf.gather(arrays.train, chosen(arrays.train)))
        self.critic_step.assign_add(1)
        return self.critic.update(batch)

    def update_behavior(self, arrays: DeviceArrays) -> Metrics:
        """One behaviour update on a batch drawn from the training part."""
        chosen = self._draw(
            "behavior/batch", self.behavior_step, self.behavior_batch_size
        )
        batch = behavior_batch(arrays, tf.gather(arrays.train, chosen(arrays.train)))
        return self.follow(*batch)

    def follow(self, observations: tf.Tensor, actions: tf.Tensor) -> Metrics:
        """One behaviour update on [S, B, D] and [S, B, A], weighted as configured."""
        weights = self._weights(observations, actions)
        return self.behavior.update(observations, actions, weights)

    def _weights(self, observations: tf.Tensor, actions: tf.Tensor) -> tf.Tensor | None:
        if self.behavior_weight is None:
            return None
        return self.behavior_weight(self.critic.advantage(observations, actions))

    def _draw(self, stream: str, step: tf.Tensor, size: int) -> Callable:
        keys = randomness.keys(self._seeds, stream, step)
        return lambda pool: randomness.integers(keys, [size], tf.shape(pool)[0])

    def _train(self, arrays: DeviceArrays, counts: tf.Tensor) -> Metrics:
        return run_block(
            lambda: self.update_critic(arrays),
            lambda: self.update_behavior(arrays),
            counts,
            len(self.seeds),
            self.critic.metrics,
            in_turns=self.behavior_weight is not None,
        )

    def _validation_losses(self, arrays: DeviceArrays) -> Metrics:
        size = tf.minimum(self._validation_batch_size, tf.shape(arrays.validation)[0])
        chosen = tf.tile(arrays.validation[None, :size], [len(self.seeds), 1])
        losses = self.critic.losses(critic_batch(arrays, chosen))
        observations, actions = behavior_batch(arrays, chosen)
        behavior_loss = self.behavior.loss(
            self.behavior.average,
            observations,
            actions,
            0,
            training=False,
            weights=self._weights(observations, actions),
        )
        return {
            "validation/v_loss": losses["v_loss"],
            "validation/q_loss": losses["q_loss"],
            "validation/behavior_loss": behavior_loss,
        }


def _check_parts(behavior: Any, behavior_weight: Any) -> None:
    if not (isinstance(behavior, type) and issubclass(behavior, BehaviorModel)):
        raise UserError(
            f"IdqlLearner.behavior is {behavior!r:.60}; expected @Behavior or "
            "@GaussianBehavior"
        )
    if behavior_weight is not None and not isinstance(behavior_weight, WEIGHTS):
        raise UserError(
            f"IdqlLearner.behavior_weight is {behavior_weight!r:.60}; expected None, "
            "@ExponentialAdvantage(), @SoftAdvantage() or @HardAdvantage()"
        )


def take_member(learner: IdqlLearner, index: int) -> IdqlLearner:
    """Copies one seed of a stack into a learner of its own, configured alike."""
    single = IdqlLearner(
        learner.critic.observation_size,
        learner.behavior.action_size,
        [learner.seeds[index]],
    )
    for ours, theirs in zip(single.variables, learner.variables, strict=True):
        # Counters are shared by the stack; everything else has a row per seed.
        ours.assign(theirs[index : index + 1] if theirs.shape.rank else theirs)
    return single


def run_block(
    update_critic: Callable[[], Metrics],
    update_behavior: Callable[[], Metrics],
    counts: tf.Tensor,
    num_seeds: int,
    critic_metrics: Sequence[str],
    in_turns: bool = False,
) -> Metrics:
    """Runs updates in the graph, first the critic's, then the behaviour model's.

    Args:
      update_critic: takes one update and returns `Critic.metrics`, [S] each.
      update_behavior: the same of `BehaviorModel`.
      counts: int32 [2], how often each is run.
      num_seeds: S.
      critic_metrics: `Critic.metrics`.
      in_turns: spread the behaviour updates evenly over the block's critic updates,
        each after those before it, because they depend on them.

    Returns:
      Means over the block, [S], named 'critic/...' and 'behavior/...'.
    """
    rooms = (update_critic, critic_metrics), (update_behavior, BehaviorModel.METRICS)
    (one, other), zeros = rooms, [[tf.zeros(num_seeds)] * len(n) for _, n in rooms]
    # In int64, for a product of two of them.
    counts = tf.cast(counts, tf.int64)
    turns = tf.maximum(counts[0], 1) if in_turns else 1

    def turn(i: tf.Tensor, critic: Sequence, behavior: Sequence) -> tuple:
        first, last = ([n * k // turns for n in tf.unstack(counts)] for k in (i, i + 1))
        critic = _repeat(*one, last[0] - first[0], critic)
        behavior = _repeat(*other, last[1] - first[1], behavior)
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
    return {
        f"{room}/{name}": total / divisor
        for room, (_, names), totals, divisor in zip(
            ("critic", "behavior"), rooms, sums, divisors, strict=True
        )
        for name, total in zip(names, totals, strict=True)
    }


def taken(metrics: Metrics, counts: tf.Tensor) -> Metrics:
    """Leaves out the metrics of updates of which `counts` has none."""
    rooms = dict(zip(("critic", "behavior"), counts.numpy(), strict=True))
    return {k: v for k, v in metrics.items() if rooms[k.partition("/")[0]]}


def _repeat(
    update: Callable[[], Metrics],
    names: Sequence[str],
    count: tf.Tensor,
    sums: Sequence[tf.Tensor],
) -> Sequence[tf.Tensor]:
    """Runs `update` `count` times in the graph; adds its metrics [S] to `sums`."""

    def step(i: tf.Tensor, *sums: tf.Tensor) -> tuple:
        metrics = update()
        return i + 1, *(s + metrics[n] for s, n in zip(sums, names, strict=True))

    _, *sums = tf.while_loop(
        lambda i, *_: i < count,
        step,
        (tf.constant(0, tf.int64), *sums),
        parallel_iterations=1,
    )
    return sums
