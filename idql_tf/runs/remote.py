"""What the processes of a distributed finetuning agree on."""

from __future__ import annotations

import re

import tensorflow as tf

from idql_tf.errors import UserError
from idql_tf.online.settings import Settings
from idql_tf.replay import deadlines, server, tables, weights
from idql_tf.replay.layout import Sizes
from idql_tf.replay.library import reverb
from idql_tf.replay.weights import Weights
from idql_tf.training.learner import IdqlLearner


def leave_gpu() -> None:
    """Keeps this process on the CPU: a GPU of its host is the learner's."""
    tf.config.set_visible_devices([], "GPU")


def make_tables(
    sizes: Sizes, settings: Settings, learner: IdqlLearner
) -> list[reverb.Table]:
    """Every table of the server but `offline`."""
    # A learner that is killed has lost what it took since its last checkpoint, and
    # what it had asked for.
    recent = settings.checkpoint_every + 2 * settings.queue_steps
    published = weights.signature(policy_variables(learner, settings))
    return [
        *tables.online_tables(sizes, settings.capacity, settings.queue_steps),
        tables.recent_table(sizes, recent),
        tables.weights_table(published),
    ]


def policy_variables(learner: IdqlLearner, settings: Settings) -> list[tf.Variable]:
    """What a policy acts with and finetuning changes.

    A frozen behaviour model, seven eighths of it all, is in the source run already.
    """
    critic, behavior = learner.critic, learner.behavior
    changing = [*critic.target_q.variables, *critic.value.variables]
    if settings.behavior_updates_per_step:
        changing += behavior.average.variables
    return changing


def connect(
    address: str,
    sizes: Sizes,
    settings: Settings,
    learner: IdqlLearner,
    must_be_new: bool = False,
) -> tuple[reverb.Client, Weights]:
    """Waits for the server and checks that its tables are those of this run.

    Args:
      address: HOST:PORT.
      sizes: of the transitions.
      settings: of the finetuning.
      learner: whose policy is published.
      must_be_new: the server must hold no transition, as for a run that begins.

    Raises:
      UserError: the address is none, or the server has other tables, or transitions
        of another run.
      ReplayTimeout: it does not answer.
    """
    if not re.fullmatch(r"[^\s/]+:[0-9]{1,5}", address):
        raise UserError(f"--server is {address!r:.80}; expected HOST:PORT")
    client = reverb.Client(address)
    published = policy_variables(learner, settings)
    found = deadlines.retried(
        settings.deadline_seconds,
        client,
        "connecting to the replay server",
        lambda: client.server_info(server.INFO_DEADLINE_SECONDS),
    )
    expected = {
        tables.ONLINE: tables.signature(sizes),
        tables.WEIGHTS: weights.signature(published),
    }
    for name, wanted in expected.items():
        spec = getattr(found.get(name), "signature", None)
        if shapes(spec) != shapes(wanted):
            raise UserError(
                f"table '{name}' of {address} has items {shapes(spec)!s:.200}; this "
                f"run's are {shapes(wanted)!s:.200}; give server, learner and actors "
                "the same --run_dir, --mode and gin settings"
            )
    if must_be_new and found[tables.ONLINE].current_size:
        raise UserError(
            f"{address} holds {found[tables.ONLINE].current_size:,} items of another "
            "run, and this one begins; start the server with a new --folder, or name "
            "that run as --output_dir"
        )
    return client, Weights(client, published)


def shapes(spec: object) -> list[tuple]:
    """Shape and type of everything in a signature."""
    return [(tuple(x.shape), x.dtype.name) for x in tf.nest.flatten(spec) if x]
