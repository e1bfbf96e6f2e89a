"""S seeds trained by one program that runs a block of updates per call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gin
import tensorflow as tf

from idql_tf.behavior.updates import Behavior
from idql_tf.critic.updates import Critic
from idql_tf.errors import check_count
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
        tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)
        self.seeds = tuple(int(seed) for seed in seeds)
        self._seeds = tf.constant(self.seeds, tf.int64)
        sizes = (observation_size, action_size, self.seeds)
        self.critic = Critic(*sizes)
        self.behavior = Behavior(*sizes)
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
        return self.behavior.update(*batch)

    def _draw(self, stream: str, step: tf.Tensor, size: int) -> Callable:
        keys = randomness.keys(self._seeds, stream, step)
        return lambda pool: randomness.integers(keys, [size], tf.shape(pool)[0])

    def _train(self, arrays: DeviceArrays, counts: tf.Tensor) -> Metrics:
        return run_block(
            lambda: self.update_critic(arrays),
            lambda: self.update_behavior(arrays),
            counts,
            len(self.seeds),
        )

    def _validation_losses(self, arrays: DeviceArrays) -> Metrics:
        size = tf.minimum(self._validation_batch_size, tf.shape(arrays.validation)[0])
        chosen = tf.tile(arrays.validation[None, :size], [len(self.seeds), 1])
        losses = self.critic.losses(critic_batch(arrays, chosen))
        observations, actions = behavior_batch(arrays, chosen)
        behavior_loss = self.behavior.loss(
            self.behavior.average, observations, actions, 0, training=False
        )
        return {
            "validation/v_loss": losses["v_loss"],
            "validation/q_loss": losses["q_loss"],
            "validation/behavior_loss": behavior_loss,
        }


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
) -> Metrics:
    """Runs updates in the graph, first the critic's, then the behaviour model's.

    Args:
      update_critic: takes one update and returns `Critic.METRICS`, [S] each.
      update_behavior: the same of `Behavior`.
      counts: int32 [2], how often each is run.
      num_seeds: S.

    Returns:
      Means over the block, [S], named 'critic/...' and 'behavior/...'.
    """
    critic = _repeat(update_critic, Critic.METRICS, counts[0], num_seeds)
    behavior = _repeat(update_behavior, Behavior.METRICS, counts[1], num_seeds)
    return _named("critic", critic) | _named("behavior", behavior)


def taken(metrics: Metrics, counts: tf.Tensor) -> Metrics:
    """Leaves out the metrics of updates of which `counts` has none."""
    rooms = dict(zip(("critic", "behavior"), counts.numpy(), strict=True))
    return {k: v for k, v in metrics.items() if rooms[k.partition("/")[0]]}


def _repeat(
    update: Callable[[], Metrics],
    names: Sequence[str],
    count: tf.Tensor,
    num_seeds: int,
) -> Metrics:
    """Runs `update` `count` times in the graph; returns mean metrics [S]."""

    def step(i: tf.Tensor, *sums: tf.Tensor) -> tuple:
        metrics = update()
        return i + 1, *(s + metrics[n] for s, n in zip(sums, names, strict=True))

    start = (tf.constant(0), *[tf.zeros(num_seeds) for _ in names])
    _, *sums = tf.while_loop(
        lambda i, *_: i < count, step, start, parallel_iterations=1
    )
    divisor = tf.cast(tf.maximum(count, 1), tf.float32)
    return {name: total / divisor for name, total in zip(names, sums, strict=True)}


def _named(room: str, metrics: Metrics) -> Metrics:
    return {f"{room}/{name}": value for name, value in metrics.items()}
