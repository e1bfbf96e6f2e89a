"""A real Reverb server with small tables, and items that can be told apart."""

import contextlib

import numpy as np

from idql_tf.replay import layout, server, tables
from idql_tf.replay.library import reverb

SIZES = layout.Sizes(num_seeds=2, observation_size=3, action_size=2, num_environments=4)
DEADLINE = 2.0


@contextlib.contextmanager
def serving(capacity=1_000, queue_steps=2_000, offline=None, recent=None, **options):
    """A server with `online`, `fresh` and maybe others, and a client of it."""
    made = tables.online_tables(SIZES, capacity, queue_steps)
    if offline is not None:
        made.append(tables.offline_table(SIZES, *offline))
    if recent is not None:
        made.append(tables.recent_table(SIZES, recent))
    with server.serve(made, **options) as running:
        yield reverb.Client(f"localhost:{running.port}")


def serve(connection, port, folder):
    """What a process does that is a server."""
    with serving(port=port, folder=folder):
        connection.send("up")
        connection.recv()


def item(number, actor=0, sizes=SIZES):
    """All its numbers are functions of its number, environment and seed."""
    lead = (sizes.num_environments, sizes.num_seeds)
    which = np.arange(np.prod(lead), dtype=np.float32).reshape(lead) + 100 * number
    wide = lambda n, offset: which[..., None] + offset + np.zeros(n)  # noqa: E731
    return {
        "observations": np.float32(wide(sizes.observation_size, 0.25)),
        "actions": np.float32(wide(sizes.action_size, 0.5)),
        "rewards": which,
        "masks": np.float32(which % 2),
        "next_observations": np.float32(wide(sizes.observation_size, 0.75)),
        "returns": np.zeros(lead, np.float32),
        "lengths": np.zeros(lead, np.int32),
        "origin": np.array([actor, number, 0]),
    }


def consistent(batch):
    """Whether every transition of a batch is one that `item` made."""
    which = np.asarray(batch["rewards"])[..., None]
    return (
        np.all(batch["observations"] == which + 0.25)
        and np.all(batch["actions"] == which + 0.5)
        and np.all(batch["masks"] == which[..., 0] % 2)
        and np.all(batch["next_observations"] == which + 0.75)
    )
