"""Fills `offline` from a dataset, and `online` from what a mirror held."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from idql_tf.data import Transitions
from idql_tf.data.rewards import RewardRule
from idql_tf.replay.layout import Item, Sizes, unpack
from idql_tf.replay.library import reverb
from idql_tf.replay.tables import OFFLINE, ONLINE
from idql_tf.replay.writer import TransitionWriter


def fill(
    client: reverb.Client,
    transitions: Transitions,
    rule: RewardRule,
    chosen: np.ndarray,
    transitions_per_item: int,
    deadline_seconds: float,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Writes transitions in a random order, K to an item.

    Each item holds a random set, so that whole items can be drawn. A rest that fills
    none is left out.

    Args:
      client: of the server.
      transitions: the dataset.
      rule: applied to the rewards.
      chosen: int [M], the transitions to write.
      transitions_per_item: K, at most M.
      deadline_seconds: how long the server may be silent.
      on_progress: called with the number of items written so far.

    Returns:
      The number of items written.

    Raises:
      ReplayTimeout: the server does not take them.
    """
    size = transitions_per_item
    order = np.random.default_rng(0).permutation(chosen)
    count = len(order) // size

    def items() -> Iterator[Item]:
        for i in range(count):
            rows = np.sort(order[i * size : (i + 1) * size])
            first = transitions.index[rows]
            yield {
                "observations": transitions.rows[first],
                "actions": transitions.actions[rows],
                "rewards": rule(transitions.rewards[rows]).astype(np.float32),
                "masks": transitions.masks[rows],
                "next_observations": transitions.rows[first + 1],
            }

    _write(client, OFFLINE, items(), deadline_seconds, on_progress)
    return count


def refill(
    client: reverb.Client, rows: np.ndarray, sizes: Sizes, deadline_seconds: float
) -> None:
    """Writes a mirror's rows [n, S, W] into `online`, which a new server has empty.

    Raises:
      ReplayTimeout: the server does not take them.
    """
    size = sizes.num_environments
    items = (
        unpack(rows[i : i + size], sizes) | {"origin": np.array([-1, i // size, 0])}
        for i in range(0, len(rows) - size + 1, size)
    )
    _write(client, ONLINE, items, deadline_seconds)


def _write(
    client: reverb.Client,
    table: str,
    items: Iterable[Item],
    deadline_seconds: float,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    writer = TransitionWriter(client, deadline_seconds, [table])
    with contextlib.closing(writer):
        for count, item in enumerate(items, 1):
            writer.write(item)
            if on_progress is not None:
                on_progress(count)
        writer.flush()
