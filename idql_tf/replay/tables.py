"""What stands in the server's tables, and how it is drawn.

offline  the dataset, in items of K transitions that have nothing to do with each other
online   every transition that actors sent, the durable store; drawn uniformly, the
         oldest dropped when it is full
fresh    the same items again, a queue: the learner takes each of them once
recent   the newest of them once more: what a learner that was killed had taken and
         not yet saved
weights  the policy that actors follow, and its version

One item of `online`, `fresh` and `recent` is one step of an actor: E environments for
each of S seeds. Larger items are drawn faster, and environments side by side are as
good as independent. Reverb keeps the data of an item once for all tables.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from idql_tf.errors import check_count
from idql_tf.replay.layout import Sizes
from idql_tf.replay.library import reverb

OFFLINE, ONLINE, FRESH = "offline", "online", "fresh"
RECENT, WEIGHTS = "recent", "weights"

Signature = dict[str, tf.TensorSpec]


def signature(sizes: Sizes) -> Signature:
    """One item of `online`, `fresh` and `recent`.

    Observations as the networks take them; actions in [-1, 1]; rewards as the reward
    rule leaves them; masks 0 where the step terminated. `lengths` are the steps of the
    episodes that ended here, else 0, and `returns` their undiscounted raw returns.
    `origin` is the number of an actor, another one after each of its starts; that of
    its step, from 0, so that what was sent twice can be told; and the version of the
    weights it acted with.
    """
    lead = (sizes.num_environments, sizes.num_seeds)
    return _columns(lead, sizes) | {
        "returns": tf.TensorSpec(lead, tf.float32),
        "lengths": tf.TensorSpec(lead, tf.int32),
        "origin": tf.TensorSpec([3], tf.int64),
    }


def offline_signature(sizes: Sizes, transitions_per_item: int) -> Signature:
    """One item of `offline`: K transitions, the same for all seeds."""
    return _columns((transitions_per_item,), sizes)


def _columns(lead: tuple[int, ...], sizes: Sizes) -> Signature:
    observation = tf.TensorSpec([*lead, sizes.observation_size], tf.float32)
    return {
        "observations": observation,
        "actions": tf.TensorSpec([*lead, sizes.action_size], tf.float32),
        "rewards": tf.TensorSpec(lead, tf.float32),
        "masks": tf.TensorSpec(lead, tf.float32),
        "next_observations": observation,
    }


def online_tables(sizes: Sizes, capacity: int, queue_steps: int) -> list[reverb.Table]:
    """`online` and `fresh`.

    Args:
      sizes: of their transitions.
      capacity: transitions of each seed that `online` keeps.
      queue_steps: steps of each seed that may wait for the learner; where they are as
        many, actors wait for it too. So data cannot run ahead of the updates, nor the
        updates of the data, for the learner takes no more than are due.

    Raises:
      UserError: a size is no integer from 1 up.
    """
    check_count("finetune.capacity", capacity)
    number, spec = sizes.num_environments, signature(sizes)
    fresh_items = max(1, queue_steps // number)
    return [
        _drawn(ONLINE, max(1, capacity // number), spec),
        reverb.Table.queue(FRESH, fresh_items, signature=spec),
    ]


def recent_table(sizes: Sizes, steps: int) -> reverb.Table:
    """`recent`, which keeps so many steps of each seed."""
    return _drawn(RECENT, -(-steps // sizes.num_environments), signature(sizes))


def offline_table(
    sizes: Sizes, num_items: int, transitions_per_item: int
) -> reverb.Table:
    """`offline`, with room for `num_items` items of K transitions."""
    return _drawn(OFFLINE, num_items, offline_signature(sizes, transitions_per_item))


def weights_table(signature: Any) -> reverb.Table:
    """`weights`, as TF-Agents' ReverbVariableContainer wants it."""
    return _drawn(WEIGHTS, 1, signature)


def mark(fingerprint: str) -> reverb.Table:
    """A table whose name alone says whose server it is."""
    return _drawn(f"run-{fingerprint}", 1, tf.TensorSpec([], tf.int64))


def _drawn(name: str, max_size: int, signature: Any) -> reverb.Table:
    """A table that keeps the newest items and gives any of them."""
    return reverb.Table(
        name=name,
        sampler=reverb.selectors.Uniform(),
        remover=reverb.selectors.Fifo(),
        max_size=max_size,
        # Nothing here waits for anything but a first item: a limiter with a ratio
        # would stand still after offline data or a restart (reverb issue 134).
        rate_limiter=reverb.rate_limiters.MinSize(1),
        signature=signature,
    )
