"""What the processes of a distributed finetuning agree on."""

from __future__ import annotations

import hashlib
import json
import re

import tensorflow as tf

from idql_tf import config
from idql_tf.errors import UserError
from idql_tf.online.settings import Settings
from idql_tf.replay import deadlines, server, tables, weights
from idql_tf.replay.layout import Sizes
from idql_tf.replay.library import reverb
from idql_tf.replay.weights import Weights
from idql_tf.runs.directory import Run
from idql_tf.training.learner import IdqlLearner


def leave_gpu() -> None:
    """Keeps this process on the CPU: a GPU of its host is the learner's."""
    tf.config.set_visible_devices([], "GPU")


def fingerprint(source: Run) -> str:
    """Tells finetunings apart: by data, seeds and every setting in force."""
    identity = [source.info.sha256, source.seeds, config.current()]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def make_tables(
    source: Run, sizes: Sizes, settings: Settings, learner: IdqlLearner
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
        tables.mark(fingerprint(source)),
    ]


def policy_variables(learner: IdqlLearner, settings: Settings) -> list[tf.Variable]:
    """What a policy acts with and finetuning changes.

    A frozen behaviour model, seven eighths of it all, is in the source run already.
    """
    critic, behavior = learner.critic, learner.behavior
    changing = [*critic.acting_variables]
    if settings.behavior_updates_per_step:
        changing += behavior.average.variables
    return changing


def connect(
    address: str,
    source: Run,
    settings: Settings,
    learner: IdqlLearner,
    must_be_new: bool = False,
) -> tuple[reverb.Client, Weights]:
    """Waits for the server and checks that it is this run's.

    Args:
      address: HOST:PORT.
      source: the run that is finetuned.
      settings: of the finetuning.
      learner: whose policy is published.
      must_be_new: the server must hold no transition, as for a run that begins.

    Raises:
      UserError: the address is none, or the server is another run's, or has
        transitions already.
      ReplayTimeout: it does not answer.
    """
    port = address.rpartition(":")[2]
    if not re.fullmatch(r"[^\s/]+:[0-9]{1,5}", address) or not 0 < int(port) < 65_536:
        raise UserError(f"--server is {address!r:.80}; expected HOST:PORT")
    client = reverb.Client(address)
    published = policy_variables(learner, settings)
    found = deadlines.retried(
        settings.deadline_seconds,
        client,
        "connecting to the replay server",
        lambda: client.server_info(server.INFO_DEADLINE_SECONDS),
    )
    if f"run-{fingerprint(source)}" not in found:
        raise UserError(
            f"{address} is another run's replay server; give server, learner and "
            "actors the same --run_dir, --mode and gin settings"
        )
    if must_be_new and found[tables.ONLINE].current_size:
        raise UserError(
            f"{address} holds {found[tables.ONLINE].current_size:,} items of another "
            "run, and this one begins; start the server with a new --folder, or name "
            "that run as --output_dir"
        )
    return client, Weights(client, published)
