"""What stands in the server's tables, and how it is drawn.

offline  the dataset, in items of K transitions that have nothing to do with each other
online   every transition that actors sent, the durable store; drawn uniformly, the
         oldest dropped when it is full
fresh    the same items again, a queue: the learner takes each of them once

One item of `online` and `fresh` is one step of an actor: E environments for each of S
seeds. Larger items are drawn faster, and environments side by side are as good as
independent.
"""

from __future__ import annotations

import tensorflow as tf

from idql_tf.errors import check_count
from idql_tf.replay.layout import Sizes
from idql_tf.replay.library import reverb

OFFLINE, ONLINE, FRESH = "offline", "online", "fresh"

Signature = dict[str, tf.TensorSpec]


def signature(sizes: Sizes) -> Signature:
    """One item of `online` and `fresh`.

    Observations as the networks take them; actions in [-1, 1]; rewards as the reward
    rule leaves them; masks 0 where the step terminated. `origin` is the number of an
    actor, another one after each of its starts, and that of its step, from 0: what was
    sent twice can be told.
    """
    lead = (sizes.num_environments, sizes.num_seeds)
    return _columns(lead, sizes) | {"origin": tf.TensorSpec([2], tf.int64)}


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


def online_tables(sizes: Sizes, capacity: int, fresh_items: int) -> list[reverb.Table]:
    """`online` and `fresh`.

    Args:
      sizes: of their transitions.
      capacity: transitions of each seed that `online` keeps.
      fresh_items: items that wait for the learner; where they are as many, actors
        wait for it too, and that holds the ratio of updates to data from above.

    Raises:
      UserError: a size is no integer from 1 up.
    """
    check_count("finetune.capacity", capacity)
    online = reverb.Table(
        name=ONLINE,
        sampler=reverb.selectors.Uniform(),
        remover=reverb.selectors.Fifo(),
        max_size=max(1, capacity // sizes.num_environments),
        # Nothing here waits for anything but a first item: a limiter with a ratio
        # would stand still after offline data or a restart (reverb issue 134).
        rate_limiter=reverb.rate_limiters.MinSize(1),
        signature=signature(sizes),
    )
    fresh = reverb.Table.queue(FRESH, fresh_items, signature=signature(sizes))
    return [online, fresh]


def offline_table(
    sizes: Sizes, num_items: int, transitions_per_item: int
) -> reverb.Table:
    """`offline`, with room for `num_items` items of K transitions."""
    return reverb.Table(
        name=OFFLINE,
        sampler=reverb.selectors.Uniform(),
        remover=reverb.selectors.Fifo(),
        max_size=num_items,
        rate_limiter=reverb.rate_limiters.MinSize(1),
        signature=offline_signature(sizes, transitions_per_item),
    )
