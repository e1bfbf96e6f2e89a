"""The online loop: act, send, take, update; logs, checkpoints and evaluations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from rich.console import Console

from idql_tf.online.actor import Act, Actor, Finished
from idql_tf.online.settings import Settings
from idql_tf.online.updates import FinetuneUpdates
from idql_tf.replay.feed import Feed
from idql_tf.replay.journal import Journal
from idql_tf.replay.mirror import Mirror
from idql_tf.replay.writer import TransitionWriter
from idql_tf.training.checkpoints import Checkpoints
from idql_tf.training.learner import IdqlLearner
from idql_tf.training.metrics import MetricsLog, check_finite
from idql_tf.training.offline import Stopped, StopSignals, progress_bar


class Replay:
    """One learner's way to and from the server: written, taken, mirrored, kept.

    Args:
      writer: of this process' actor.
      feed: of the server's queue.
      mirror: what the updates draw from.
      journal: the mirror's rows on disk.
    """

    def __init__(
        self, writer: TransitionWriter, feed: Feed, mirror: Mirror, journal: Journal
    ) -> None:
        self._writer, self._feed = writer, feed
        self._mirror, self._journal = mirror, journal
        self._unsaved: list[np.ndarray] = []

    def pass_on(self, item: dict[str, np.ndarray], number: int) -> None:
        """Sends an item to the server and takes it from there into the mirror.

        Raises:
          ReplayTimeout: the server does not answer, or has lost the item.
        """
        wanted = int(self._mirror.inserted) + len(item["rewards"])
        self._writer.write(item | {"origin": np.array([0, number])})
        self._writer.flush()
        # A checkpoint counts on every step being in the mirror.
        while int(self._mirror.inserted) < wanted:
            for rows in self._feed.take(at_least_one=True):
                self._mirror.append(rows)
                self._unsaved.append(rows)

    def save(self) -> None:
        """Writes to the journal what came since the last call."""
        if self._unsaved:
            rows = np.concatenate(self._unsaved)
            self._journal.write(int(self._mirror.inserted) - len(rows), rows)
            self._unsaved = []


def finetune(
    learner: IdqlLearner,
    updates: FinetuneUpdates,
    actor: Actor,
    act: Act,
    replay: Replay,
    settings: Settings,
    num_env_steps: int,
    checkpoints: Checkpoints,
    log: MetricsLog,
    evaluate: Callable[[int], None],
    console: Console,
    stop: StopSignals,
) -> None:
    """Finetunes from where the run is to `num_env_steps` steps of every seed.

    Args:
      learner: what is trained, restored.
      updates: of the learner, on offline and online transitions.
      actor: where experience comes from.
      act: the policy that explores.
      replay: between the two.
      settings: budget and rhythm.
      num_env_steps: environment steps of each seed in all.
      checkpoints: of the learner.
      log: where metrics go.
      evaluate: called with the step wherever an evaluation is due, and at the start;
        must not repeat work already recorded.
      console: where progress is shown.
      stop: asked after every step.

    Raises:
      Stopped: a signal came; everything is saved.
      ReplayTimeout: the server does not answer.
      FloatingPointError: a loss or an action became non-finite.
    """
    step = start = int(learner.env_step)
    updated = [int(learner.critic_step), int(learner.behavior_step)]
    before = [
        count - due for count, due in zip(updated, _due(settings, start), strict=True)
    ]
    if settings.is_due(settings.evaluate_every, start, num_env_steps):
        evaluate(start)
    meter = _Meter(learner, log)
    with progress_bar(console) as progress:
        task = progress.add_task("finetuning", total=num_env_steps, completed=start)
        while step < num_env_steps:
            item, finished = actor.step(act)
            replay.pass_on(item, (step - start) // settings.num_environments)
            step += settings.num_environments
            due = [b + d for b, d in zip(before, _due(settings, step), strict=True)]
            counts = [d - u for d, u in zip(due, updated, strict=True)]
            metrics = updates.train(*counts) if any(counts) else {}
            updated = due
            meter.add(metrics, finished, step)
            learner.env_step.assign(step)
            progress.update(task, completed=step)
            evaluation_due = settings.is_due(
                settings.evaluate_every, step, num_env_steps
            )
            save = evaluation_due or stop.received is not None
            save |= settings.is_due(settings.checkpoint_every, step, num_env_steps)
            if save or settings.is_due(settings.log_every, step, num_env_steps):
                meter.write(step)
            if save:
                # First what the checkpoint will count on.
                replay.save()
                checkpoints.save()
            if stop.received:
                raise Stopped(f"{stop.received}: saved at environment step {step:,}")
            if evaluation_due:
                evaluate(step)


def _due(settings: Settings, step: int) -> tuple[int, int]:
    return settings.critic_due(step), settings.behavior_due(step)


class _Meter:
    """Collects updates' metrics and episodes' returns and writes their means."""

    def __init__(self, learner: IdqlLearner, log: MetricsLog) -> None:
        self._learner, self._log = learner, log
        self._updates: list[dict[str, np.ndarray]] = []
        self._episodes: list[Finished] = []

    def add(
        self, metrics: dict[str, tf.Tensor], finished: list[Finished], step: int
    ) -> None:
        if metrics:
            found = {name: value.numpy() for name, value in metrics.items()}
            check_finite(found, self._learner.seeds, step)
            self._updates.append(found)
        self._episodes += finished

    def write(self, step: int) -> None:
        seeds = self._learner.seeds
        names = {name for metrics in self._updates for name in metrics}
        rows = {
            name: np.mean([m[name] for m in self._updates if name in m], axis=0)
            for name in names
        }
        for name in ("episode_return", "length"):
            values = [
                [getattr(e, name) for e in self._episodes if e.seed == seed]
                for seed in seeds
            ]
            if all(values):
                rows[f"collect/{name}"] = np.array([np.mean(v) for v in values])
        if {e.seed for e in self._episodes} == set(seeds):
            self._episodes = []
        counters = self._learner.critic_step, self._learner.behavior_step
        for name, counter in zip(("critic", "behavior"), counters, strict=True):
            rows[f"{name}/updates"] = np.full(len(seeds), int(counter))
        self._log.write(rows, step, step)
        self._updates = []
