"""The dataset resident on the device, and batches gathered from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from idql_tf.critic.updates import CriticBatch
from idql_tf.data import Transitions
from idql_tf.data.rewards import RewardRule
from idql_tf.errors import UserError
from idql_tf.nn import dense


class DeviceArrays(NamedTuple):
    """Transitions on the device; observations stand once, in `rows`.

    rows [R, D], index int32 [M] (transition i goes from row index[i] to row
    index[i] + 1), actions [M, A], rewards [M], masks [M], train int32 [..] and
    validation int32 [..]: the transitions of each part.
    """

    rows: tf.Tensor
    index: tf.Tensor
    actions: tf.Tensor
    rewards: tf.Tensor
    masks: tf.Tensor
    train: tf.Tensor
    validation: tf.Tensor


def split(
    num_transitions: int, validation_fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Random train (sorted) and validation (in random order) parts, int32.

    The split depends on the data's size alone, so that all seeds and all
    resumed runs share it. Any first part of the validation spans all the data.
    """
    order = np.random.default_rng(0).permutation(num_transitions).astype(np.int32)
    held_out = round(validation_fraction * num_transitions)
    if held_out >= num_transitions:
        raise UserError(
            f"train.validation_fraction {validation_fraction} leaves none of the "
            f"{num_transitions} transitions to train on; lower it"
        )
    return np.sort(order[held_out:]), order[:held_out]


def _to_device(array: np.ndarray) -> tf.Tensor:
    """Moves to the GPU; on a CPU shares the memory rather than copying it."""
    if dense.on_gpu() or not (array.flags.writeable and array.flags.c_contiguous):
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _in_best_episodes(transitions: Transitions, fraction: float) -> np.ndarray:
    """Tells which transitions, bool [M], are of the episodes with the best returns."""
    returns, lengths = transitions.episode_returns(), transitions.episode_lengths()
    count = max(1, round(fraction * len(returns)))
    best = np.zeros(len(returns), bool)
    best[np.argsort(-returns, kind="stable")[:count]] = True
    return np.repeat(best, lengths)


def to_device(
    transitions: Transitions,
    rule: RewardRule,
    validation_fraction: float,
    best_fraction: float = 1.0,
) -> DeviceArrays:
    """Places the data where the steps run.

    Args:
      transitions: the data.
      rule: transforms the rewards.
      validation_fraction: part of the transitions that is held out.
      best_fraction: part of the episodes, those with the best returns, that is trained
        on; of the others only the held-out transitions are used.
    """
    train, validation = split(len(transitions), validation_fraction)
    if best_fraction < 1.0:
        train = train[_in_best_episodes(transitions, best_fraction)[train]]
    return DeviceArrays(
        rows=_to_device(transitions.rows),
        index=tf.constant(transitions.index),
        actions=_to_device(transitions.actions),
        rewards=tf.constant(rule(transitions.rewards), tf.float32),
        masks=tf.constant(transitions.masks),
        train=tf.constant(train),
        validation=tf.constant(validation),
    )


def critic_batch(arrays: DeviceArrays, transitions: tf.Tensor) -> CriticBatch:
    """Gathers transitions int32 [S, B] for the critic."""
    row = tf.gather(arrays.index, transitions)
    return CriticBatch(
        observations=tf.gather(arrays.rows, row),
        actions=tf.gather(arrays.actions, transitions),
        rewards=tf.gather(arrays.rewards, transitions),
        masks=tf.gather(arrays.masks, transitions),
        next_observations=tf.gather(arrays.rows, row + 1),
    )


def behavior_batch(
    arrays: DeviceArrays, transitions: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gathers observations [S, B, D] and actions [S, B, A] of int32 [S, B]."""
    row = tf.gather(arrays.index, transitions)
    return tf.gather(arrays.rows, row), tf.gather(arrays.actions, transitions)
