"""What `launch/finetune.py` does."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from rich.console import Console

from idql_tf import config, data
from idql_tf.cli import EXIT_DONE, EXIT_RESUMABLE
from idql_tf.data import Transitions
from idql_tf.errors import UserError, check_count
from idql_tf.evaluation import rollouts
from idql_tf.online import finetune as loop
from idql_tf.online.actor import Act, Actor
from idql_tf.online.settings import Settings
from idql_tf.online.updates import FinetuneUpdates
from idql_tf.replay import loading, server, tables
from idql_tf.replay.feed import Feed
from idql_tf.replay.journal import Journal
from idql_tf.replay.layout import Sizes
from idql_tf.replay.library import reverb
from idql_tf.replay.mirror import Mirror
from idql_tf.replay.writer import TransitionWriter
from idql_tf.runs import directory, jobs
from idql_tf.runs.directory import Run
from idql_tf.runs.evaluation import Evaluator, compile_policy
from idql_tf.training import arrays, offline
from idql_tf.training.learner import IdqlLearner
from idql_tf.training.metrics import MetricsLog
from idql_tf.training.offline import Stopped, StopSignals

# Apart from the training seeds and from the evaluations'.
_EXPLORATION = 7_368_787


def finetune(
    run_dir: str,
    mode: str,
    num_env_steps: int,
    output_dir: str | None = None,
    gin_files: Sequence[str] = (),
    gin_params: Sequence[str] = (),
    env_id: str | None = None,
) -> int:
    """Finetunes a run's policies by acting, with a replay server of its own.

    Everything that can be refused is refused before anything is written.

    Args:
      run_dir: a run of `train`; is only read.
      mode: 'max' or 'imp' (IDQL Table 3): gin/finetune/MODE.gin is read first.
      num_env_steps: environment steps of each seed in all.
      output_dir: the new run, resumed if it exists; by default RUN_DIR-MODE.
      gin_files: read after the run's configuration and the mode's.
      gin_params: read last.
      env_id: MODULE:ID of the run's environment, where importing MODULE makes it
        known.

    Returns:
      The exit code: 0 when done, 75 when stopped by a signal after saving.

    Raises:
      UserError: the run cannot be finetuned, or the output is another run.
      ReplayTimeout: the replay server does not answer.
    """
    console = Console(soft_wrap=True)
    check_count("--num_env_steps", num_env_steps)
    files = [str(config.ROOT / "gin" / "finetune" / f"{mode}.gin"), *gin_files]
    source = directory.open_run(run_dir, files, gin_params)
    config.add_defaults()
    settings = jobs.configured(lambda: Settings())
    offline_settings = jobs.configured(lambda: offline.Settings())
    transitions = _data(source, env_id)
    path = pathlib.Path(output_dir or f"{run_dir.rstrip('/')}-{mode}")
    run = dataclasses.replace(source, path=path, finetuned_from=str(source.path))
    directory.check(run)
    stop = StopSignals()
    learner = jobs.make_learner(run)
    evaluator = jobs.configured(
        lambda: Evaluator(run, learner, console, stop, phase="online")
    )
    rollouts.check(run.info)
    sizes = Sizes(
        len(run.seeds),
        run.info.observation_size,
        run.info.action_size,
        settings.num_environments,
    )
    # Room for no more than will come.
    capacity = min(settings.capacity, num_env_steps + settings.num_environments)
    mirror = Mirror(sizes, capacity)
    fraction = offline_settings.validation_fraction
    placed = arrays.to_device(transitions, run.rule, fraction)
    updates = FinetuneUpdates(learner, placed, mirror, settings.offline_fraction)
    with source.locked(to_read=True):
        jobs.restore_trained(source, learner, 1, console)
    # Of the source, if that was finetuned itself.
    learner.env_step.assign(0)
    with stop, _serving(sizes, settings, transitions, run) as client:
        directory.begin(run, transitions, evaluator.methods)
        with run.locked():
            try:
                _finetune(
                    run,
                    learner,
                    updates,
                    mirror,
                    sizes,
                    client,
                    settings,
                    num_env_steps,
                    evaluator,
                    console,
                    stop,
                )
            except Stopped as stopped:
                console.print(f"{stopped}; run the same command again to go on")
                return EXIT_RESUMABLE
    evaluator.finish()
    return EXIT_DONE


def _finetune(
    run: Run,
    learner: IdqlLearner,
    updates: FinetuneUpdates,
    mirror: Mirror,
    sizes: Sizes,
    client: reverb.Client,
    settings: Settings,
    num_env_steps: int,
    evaluator: Evaluator,
    console: Console,
    stop: StopSignals,
) -> None:
    checkpoints = jobs.restore(run, learner, settings.keep_checkpoints, console)
    start = int(learner.env_step)
    journal = Journal(run.file("replay"), mirror.capacity, settings.keep_checkpoints)
    rows = journal.read(start)
    if rows is not None:
        mirror.inserted.assign(start - len(rows))
        mirror.append(rows)
        loading.refill(client, rows, sizes, settings.deadline_seconds)
        console.print(f"resuming at environment step {start:,} of {num_env_steps:,}")
    log = MetricsLog(run.path, run.seeds, "online")
    log.resume(start, start)
    evaluator.resume(start)
    deadline = settings.deadline_seconds
    number = settings.num_environments
    with (
        contextlib.closing(TransitionWriter(client, deadline)) as writer,
        contextlib.closing(
            Actor(run.info, run.rule, run.seeds, number, first_step=start)
        ) as actor,
    ):
        loop.finetune(
            learner,
            updates,
            actor,
            _exploration(learner, settings),
            loop.Replay(writer, Feed(client, deadline), mirror, journal),
            settings,
            num_env_steps,
            checkpoints,
            log,
            lambda step: evaluator.evaluate(step, settings.episodes),
            console,
            stop,
        )


def _data(source: Run, env_id: str | None) -> Transitions:
    """Loads the data of a run and checks that they are those it was trained on."""
    recorded_id = source.env_id
    if env_id is None and recorded_id is not None and ":" in recorded_id:
        raise UserError(
            f"{source.path} was trained with --env_id {recorded_id}, and a run's "
            "record never chooses what is imported; give the same --env_id here"
        )
    transitions = data.load(source.info.dataset, env_id=env_id or recorded_id)
    found, recorded = transitions.info.sha256, source.info.sha256
    if found != recorded:
        raise UserError(
            f"{source.info.dataset} has other contents (sha256 {found[:12]}) than "
            f"when {source.path} was trained on it ({recorded[:12]}); restore the data"
        )
    return transitions


def _exploration(learner: IdqlLearner, settings: Settings) -> Act:
    policy = compile_policy(learner, (settings.exploration, settings.num_candidates))
    seeds = tf.constant(learner.seeds, tf.int64) + _EXPLORATION

    def act(observations: np.ndarray, step: int) -> np.ndarray:
        return policy(observations, seeds, tf.constant(step, tf.int64)).numpy()

    return act


@contextlib.contextmanager
def _serving(
    sizes: Sizes, settings: Settings, transitions: Transitions, run: Run
) -> Iterator[reverb.Client]:
    """A server in this process, with the dataset in `offline` for who asks for it.

    This process draws from its own copy.
    """
    per_item = min(settings.offline_transitions_per_item, len(transitions))
    num_items = len(transitions) // per_item
    made = [
        # The loop takes every item at once: the queue never fills.
        *tables.online_tables(sizes, settings.capacity, fresh_items=1_000),
        tables.offline_table(sizes, num_items, per_item),
    ]
    with server.serve(made) as running:
        client = reverb.Client(f"localhost:{running.port}")
        chosen = np.arange(len(transitions), dtype=np.int32)
        deadline = settings.deadline_seconds
        loading.fill(client, transitions, run.rule, chosen, per_item, deadline)
        yield client
