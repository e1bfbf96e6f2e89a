"""Updates on batches of offline and online transitions, many in one program."""

from __future__ import annotations

import tensorflow as tf

from idql_tf.critic.updates import CriticBatch
from idql_tf.nn import dense, randomness
from idql_tf.replay.layout import offline_part
from idql_tf.replay.mirror import Mirror
from idql_tf.training.arrays import DeviceArrays, critic_batch
from idql_tf.training.learner import IdqlLearner, Metrics, run_block, taken


class FinetuneUpdates(tf.Module):
    """A learner's own updates, fed from the dataset and from a mirror of `online`.

    Args:
      learner: whose updates are taken; its batch sizes and counters hold.
      arrays: the dataset.
      mirror: the online transitions.
      offline_fraction: part of every batch that comes from the dataset (IDQL takes
        0.5: 128 + 128 for the critic, 512 + 512 for the behaviour model).
      xla: compile with XLA; None does on a GPU.
    """

    def __init__(
        self,
        learner: IdqlLearner,
        arrays: DeviceArrays,
        mirror: Mirror,
        offline_fraction: float,
        xla: bool | None = None,
    ) -> None:
        super().__init__(name="finetune_updates")
        self._learner, self._arrays, self._mirror = learner, arrays, mirror
        self._seeds = tf.constant(learner.seeds, tf.int64)
        self._critic_parts = _parts(learner.critic_batch_size, offline_fraction)
        self._behavior_parts = _parts(learner.behavior_batch_size, offline_fraction)
        self._block = dense.compiled(self._train, xla)

    def train(self, critic_updates: int, behavior_updates: int) -> Metrics:
        """Takes the updates in one compiled call; as `IdqlLearner.train`."""
        counts = tf.constant([critic_updates, behavior_updates], tf.int32)
        return taken(self._block(counts), counts)

    def _train(self, counts: tf.Tensor) -> Metrics:
        learner = self._learner

        def update_critic() -> Metrics:
            batch = self._draw("critic", learner.critic_step, *self._critic_parts)
            learner.critic_step.assign_add(1)
            return learner.critic.update(batch)

        def update_behavior() -> Metrics:
            step = learner.behavior_step
            batch = self._draw("behavior", step, *self._behavior_parts)
            return learner.follow(batch.observations, batch.actions)

        return run_block(
            update_critic,
            update_behavior,
            counts,
            len(learner.seeds),
            learner.critic.metrics,
            in_turns=learner.behavior_weight is not None,
        )

    def _draw(
        self, room: str, step: tf.Tensor, offline: int, online: int
    ) -> CriticBatch:
        """Draws [S, offline + online, ...], the offline transitions first."""
        batches = []
        if offline:
            pool = self._arrays.train
            keys = randomness.keys(self._seeds, f"{room}/offline", step)
            chosen = randomness.integers(keys, [offline], tf.shape(pool)[0])
            batches.append(critic_batch(self._arrays, tf.gather(pool, chosen)))
        if online:
            keys = randomness.keys(self._seeds, f"{room}/online", step)
            batches.append(self._mirror.draw(keys, online))
        columns = zip(*(batch[:5] for batch in batches), strict=True)
        return CriticBatch(*(tf.concat(parts, axis=1) for parts in columns))


def _parts(batch_size: int, offline_fraction: float) -> tuple[int, int]:
    offline = offline_part(batch_size, offline_fraction)
    return offline, batch_size - offline
