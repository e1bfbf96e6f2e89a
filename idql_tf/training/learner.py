"""S seeds trained by one program that runs a block of updates per call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gin
import tensorflow as tf

from idql_tf.behavior.model import BehaviorModel
from idql_tf.critic.advantages import WEIGHTS, AdvantageWeight
from idql_tf.critic.updates import Critic, CriticBatch
from idql_tf.errors import UserError, check_count
from idql_tf.nn import dense, randomness
from idql_tf.training.arrays import DeviceArrays, behavior_batch, critic_batch
from idql_tf.training.blocks import Metrics, checked, run_block


class Drawn(NamedTuple):
    """A batch [S, B, ...] and where its transitions are.

    `numbers` int64 [S, B]: of the first `num_offline` in the dataset, of the others
    in the order in which they came online.
    """

    batch: CriticBatch
    numbers: tf.Tensor
    num_offline: int


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
      behavior: `Behavior`, `GaussianBehavior` or, of discrete actions,
        `CategoricalBehavior`.
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

        Raises:
          NotFinite: a loss became non-finite; the block is taken all the same.
        """
        counts = tf.constant([critic_updates, behavior_updates], tf.int32)
        return checked(self._block(arrays, counts), counts, self)

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
        batch = critic_batch(arrays, self._draw(arrays, "critic", self.critic_step))
        self.critic_step.assign_add(1)
        return self.critic.update(batch)

    def update_behavior(self, arrays: DeviceArrays) -> Metrics:
        """One behaviour update on a batch drawn from the training part."""
        chosen = self._draw(arrays, "behavior", self.behavior_step)
        return self.follow(*behavior_batch(arrays, chosen))

    def follow(self, observations: tf.Tensor, actions: tf.Tensor) -> Metrics:
        """One behaviour update on [S, B, D] and [S, B, A], weighted as configured."""
        weights = self._weights(observations, actions)
        return self.behavior.update(observations, actions, weights)

    def _weights(self, observations: tf.Tensor, actions: tf.Tensor) -> tf.Tensor | None:
        if self.behavior_weight is None:
            return None
        return self.behavior_weight(self.critic.advantage(observations, actions))

    def drawn(self, arrays: DeviceArrays, room: str, update: int) -> Drawn:
        """What an update is trained on: a function of the seeds and its number."""
        chosen = self._draw(arrays, room, tf.constant(update, tf.int64))
        numbers = tf.cast(chosen, tf.int64)
        return Drawn(critic_batch(arrays, chosen), numbers, chosen.shape[1])

    def _draw(self, arrays: DeviceArrays, room: str, step: tf.Tensor) -> tf.Tensor:
        """Transitions int32 [S, B] of the training part."""
        sizes = {
            "critic": self.critic_batch_size,
            "behavior": self.behavior_batch_size,
        }
        keys = randomness.keys(self._seeds, f"{room}/batch", step)
        pool = arrays.train
        chosen = randomness.integers(keys, [sizes[room]], tf.shape(pool)[0])
        return tf.gather(pool, chosen)

    def _train(self, arrays: DeviceArrays, counts: tf.Tensor) -> Metrics:
        return run_block(
            lambda: self.update_critic(arrays),
            lambda: self.update_behavior(arrays),
            counts,
            self,
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
            f"IdqlLearner.behavior is {behavior!r:.60}; expected @Behavior, "
            "@GaussianBehavior or @CategoricalBehavior"
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
