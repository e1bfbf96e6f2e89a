"""Batches of offline and online transitions straight from the server, by tf.data.

For learners of one's own. Ours holds the dataset and a mirror of `online` on its
device, and draws from these (`online/updates.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from idql_tf.errors import UserError
from idql_tf.replay import deadlines
from idql_tf.replay.layout import offline_part
from idql_tf.replay.library import reverb
from idql_tf.replay.tables import OFFLINE, ONLINE

Batch = dict[str, tf.Tensor]


def mixed_batches(
    address: str,
    batch_size: int,
    offline_fraction: float,
    deadline_seconds: float,
) -> tf.data.Dataset:
    """Endless batches, the offline transitions first.

    Transitions of different seeds' policies are not told apart.

    Args:
      address: of the server, HOST:PORT.
      batch_size: B.
      offline_fraction: part of each batch that comes from `offline`.
      deadline_seconds: how long a table may have nothing to give. `iterate` holds it
        also where the server is gone, which leaves a plain iterator waiting.

    Returns:
      A dataset of dicts of float32 [B, ...], with the columns of `offline`.

    Raises:
      UserError: the fraction leaves no whole numbers, or a table is missing.
    """
    offline = offline_part(batch_size, offline_fraction)
    parts = [
        _batches(address, table, count, deadline_seconds)
        for table, count in ((OFFLINE, offline), (ONLINE, batch_size - offline))
        if count
    ]
    if len(parts) == 2:
        parts = [tf.data.Dataset.zip(tuple(parts)).map(_join)]
    return parts[0].prefetch(tf.data.AUTOTUNE)


def iterate(
    dataset: tf.data.Dataset, address: str, deadline_seconds: float
) -> Iterator[Batch]:
    """Iterates over `mixed_batches`; a wait that does not end is an error.

    Raises:
      ReplayTimeout: a table had nothing to give, or the server is gone, for longer
        than the deadline; the message tells the tables' state.
    """
    client = reverb.Client(address)
    batches, what = iter(dataset), "sampling batches"
    while True:
        # Reverb's own limit comes first where the server lives, and ends the data.
        found = deadlines.within(
            2 * deadline_seconds + 5, client, what, lambda: next(batches, None)
        )
        if found is None:
            raise deadlines.timed_out(deadline_seconds, client, what)
        yield found


def _batches(
    address: str, table: str, batch_size: int, deadline: float
) -> tf.data.Dataset:
    """Batches of one table; it ends where the table has nothing for so long."""
    try:
        items = reverb.TrajectoryDataset.from_table_signature(
            address,
            table,
            max_in_flight_samples_per_worker=64,
            rate_limiter_timeout_ms=int(1_000 * deadline),
            get_signature_timeout_secs=max(1, int(deadline)),
        )
    except (ValueError, reverb.errors.ReverbError) as error:
        raise UserError(
            f"table '{table}' of {address} cannot be sampled "
            f"({' '.join(str(error).split()):.200}); start the server with one"
        ) from error
    lead = items.element_spec.data["rewards"].shape
    per_item = lead.num_elements()
    columns = items.map(lambda item: _flatten(item.data, len(lead)))
    if batch_size % per_item:
        return columns.unbatch().batch(batch_size)
    # Ten times as fast as taking items apart.
    whole = columns.batch(batch_size // per_item)
    return whole.map(lambda batch: _flatten(batch, 2))


def _flatten(item: Batch, axes: int) -> Batch:
    """Makes one axis of the first ones, and drops what is not a transition."""
    return {
        name: tf.reshape(value, tf.concat([[-1], tf.shape(value)[axes:]], 0))
        for name, value in item.items()
        if name != "origin"
    }


def _join(*batches: Batch) -> Batch:
    return {name: tf.concat([b[name] for b in batches], 0) for name in batches[0]}
