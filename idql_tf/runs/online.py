"""What finetuning in one process and in several share."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from rich.console import Console

from idql_tf import config, data, exits, extraction, files
from idql_tf.data import Transitions
from idql_tf.errors import UserError, check_count
from idql_tf.evaluation import rollouts
from idql_tf.online import finetune as loop
from idql_tf.online.actor import Act
from idql_tf.online.settings import Settings
from idql_tf.online.updates import FinetuneUpdates
from idql_tf.replay import loading, tables
from idql_tf.replay.feed import Feed
from idql_tf.replay.journal import Journal, Rows
from idql_tf.replay.layout import Sizes, unpack
from idql_tf.replay.library import reverb
from idql_tf.replay.mirror import Mirror
from idql_tf.runs import directory, jobs
from idql_tf.runs.directory import Run
from idql_tf.runs.evaluation import Evaluator, compile_policy
from idql_tf.training import arrays, offline
from idql_tf.training.divergence import Guard
from idql_tf.training.learner import IdqlLearner
from idql_tf.training.metrics import MetricsLog
from idql_tf.training.offline import Stopped, StopSignals

# Apart from the training seeds and from the evaluations'.
_EXPLORATION = 7_368_787


@dataclasses.dataclass(frozen=True)
class Request:
    """Which run is finetuned and how: what all processes of a finetuning are given.

    Attributes:
      run_dir: a run of `train`; is only read.
      mode: 'max' or 'imp' (IDQL Table 3): gin/finetune/MODE.gin is read first.
      gin_files: read after the run's configuration and the mode's.
      gin_params: read last.
      env_id: MODULE:ID of the run's environment, where importing MODULE makes it
        known.
    """

    run_dir: str
    mode: str
    gin_files: Sequence[str] = ()
    gin_params: Sequence[str] = ()
    env_id: str | None = None

    def open(self) -> tuple[Run, Settings]:
        """Opens the run; its configuration, the mode's and more hold from here.

        Raises:
          UserError: there is no such run, or a setting cannot be used.
        """
        first = str(config.ROOT / "gin" / "finetune" / f"{self.mode}.gin")
        files = [first, *self.gin_files]
        source = directory.open_run(self.run_dir, files, self.gin_params)
        config.add_defaults()
        return source, jobs.configured(lambda: Settings())

    def output_path(self, output_dir: str | None) -> pathlib.Path:
        """Where the finetuned run is: by default beside the one it begins with."""
        if output_dir:
            return pathlib.Path(output_dir)
        return files.beside(pathlib.Path(self.run_dir), self.mode)


def sizes_of(run: Run, settings: Settings) -> Sizes:
    """Shapes of the transitions that finetuning a run makes."""
    return Sizes(
        len(run.seeds),
        run.info.observation_size,
        run.info.action_size,
        settings.num_environments,
    )


class Finetuning:
    """A learner that is finetuned and its run directory.

    Args:
      request: the run it begins with, and how.
      num_env_steps: environment steps of each seed in all.
      output_dir: the new run, resumed if it exists; None takes RUN_DIR-MODE.

    Raises:
      UserError: the run cannot be finetuned, or the output is another run; nothing
        has been written.
    """

    def __init__(
        self, request: Request, num_env_steps: int, output_dir: str | None
    ) -> None:
        check_count("--num_env_steps", num_env_steps)
        self.source, self.settings = source, settings = request.open()
        self._num_env_steps = num_env_steps
        self.console, self.stop = Console(soft_wrap=True), StopSignals()
        offline_settings = jobs.configured(lambda: offline.Settings())
        self.transitions = load_data(source, request.env_id)
        path = request.output_path(output_dir)
        self.run = dataclasses.replace(
            source, path=path, finetuned_from=str(source.path.resolve())
        )
        directory.check(self.run)
        self.is_new = not self.run.file("spec.json").exists()
        self.learner = jobs.make_learner(self.run)
        if self.learner.behavior.is_deterministic:
            raise UserError(
                f"{source.path} acts with the mean of its Gaussian: it would explore "
                "nothing; give --gin_param GaussianBehavior.sampler_temperature=1.0"
            )
        extraction.check_refinable(settings.exploration, self.learner.behavior)
        greedy = settings.exploration == "argmax" or settings.num_candidates == 1
        if self.learner.behavior.DISCRETE and greedy:
            raise UserError(
                f"{source.path} has discrete actions, whose argmax, or choice of one "
                "candidate, draws nothing: it would explore nothing; expected --mode "
                "imp, or --gin_param \"finetune.exploration='implicit'\", and N above 1"
            )
        self.evaluator = jobs.configured(
            lambda: Evaluator(
                self.run, self.learner, self.console, self.stop, phase="online"
            )
        )
        rollouts.check(self.run.info)
        self.sizes = sizes_of(self.run, settings)
        # Room for no more than will come.
        capacity = min(settings.capacity, num_env_steps + settings.num_environments)
        self._mirror = Mirror(self.sizes, capacity)
        placed = arrays.to_device(
            self.transitions,
            self.run.rule,
            offline_settings.validation_fraction,
            offline_settings.best_fraction,
        )
        self._updates = updates = FinetuneUpdates(
            self.learner, placed, self._mirror, settings.offline_fraction
        )
        rewards = placed.rewards.numpy()
        self._guard = jobs.configured(
            lambda: Guard(path, self.learner, updates.drawn, rewards)
        )
        with source.locked(to_read=True):
            jobs.restore_trained(source, self.learner, self.console)
        # Of the source, if that was finetuned itself.
        self.learner.env_step.assign(0)

    def do(self, work: Callable[[], None]) -> int:
        """Makes the run directory, if it is new, and does the work as its only writer.

        Returns:
          The exit code, for `finish`: 75 when stopped by a signal after saving.
        """
        begun = directory.begun(self.run, self.transitions, self.evaluator.methods)
        with begun:
            # From here the device's copy is the only one.
            del self.transitions
            try:
                work()
            except Stopped as stopped:
                self.console.print(f"{stopped}; run the same command again to go on")
                return exits.RESUMABLE
        return exits.DONE

    def finish(self, code: int) -> int:
        """Writes summary and report of a run that is done; returns its exit code."""
        if code == exits.DONE:
            self.evaluator.finish()
        return code

    def restore(self, client: reverb.Client) -> Rows | None:
        """Brings learner, mirror and logs to the run's newest checkpoint.

        Returns:
          What is in the mirror; None where nothing is.
        """
        keep, run = self.settings.keep_checkpoints, self.run
        self._checkpoints = jobs.restore(run, self.learner, keep, self.console)
        start = int(self.learner.env_step)
        shape = len(run.seeds), sum(self.sizes.widths)
        journal = Journal(run.file("replay"), self._mirror.capacity, keep, shape)
        if not start and len(journal) > 1:
            raise UserError(
                f"{run.path} has transitions in replay/ and no checkpoint of them; "
                "restore checkpoints/, or name a new --output_dir"
            )
        self.feed = Feed(client, self.settings.deadline_seconds)
        rows = journal.read(start)
        if rows is not None:
            self._mirror.inserted.assign(start - len(rows.packed))
            self._mirror.append(rows.packed)
            self._guard.allow(unpack(rows.packed, self.sizes)["rewards"])
            self.feed.know(rows.origins)
            self.console.print(
                f"resuming at environment step {start:,} of {self._num_env_steps:,}"
            )
        self._replay = loop.Replay(self.feed, self._mirror, journal)
        self.evaluator.resume(start, self._checkpoints.newest)
        self._log = MetricsLog(run.path, run.seeds, "online")
        self._log.resume(start, start)
        return rows

    def train(
        self,
        collect: Callable[[], None] | None = None,
        publish: Callable[[int], None] | None = None,
    ) -> None:
        """Runs the loop to its end, after `restore`; see `online.finetune`."""
        loop.finetune(
            self.learner,
            self._updates,
            self._replay,
            self.settings,
            self._num_env_steps,
            self._checkpoints,
            self._guard,
            self._log,
            lambda step: self.evaluator.evaluate(step, self.settings.episodes),
            self.console,
            self.stop,
            collect,
            publish,
        )


def load_data(source: Run, env_id: str | None) -> Transitions:
    """Loads the data of a run and checks that they are those it was trained on.

    Raises:
      UserError: they are not, or cannot be read.
    """
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


def exploration(learner: IdqlLearner, settings: Settings, identity: int = 0) -> Act:
    """The policy that explores, as actors call it; each draws by its own identity."""
    policy = compile_policy(learner, (settings.exploration, settings.num_candidates))
    seeds = tf.constant(learner.seeds, tf.int64) + (_EXPLORATION + identity)

    def act(observations: np.ndarray, step: int) -> np.ndarray:
        return policy(observations, seeds, tf.constant(step, tf.int64)).numpy()

    return act


def offline_table(
    transitions: Transitions, sizes: Sizes, settings: Settings
) -> reverb.Table:
    """The table `offline`, with room for the dataset."""
    per_item = _per_item(transitions, settings)
    return tables.offline_table(sizes, len(transitions) // per_item, per_item)


def _per_item(transitions: Transitions, settings: Settings) -> int:
    return min(settings.offline_transitions_per_item, len(transitions))


def fill_offline(
    client: reverb.Client, transitions: Transitions, run: Run, settings: Settings
) -> None:
    """Writes the dataset into `offline`."""
    per_item = _per_item(transitions, settings)
    chosen = np.arange(len(transitions), dtype=np.int32)
    deadline = settings.deadline_seconds
    loading.fill(client, transitions, run.rule, chosen, per_item, deadline)
