"""The online loop: take, update; logs, checkpoints and evaluations."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from rich.console import Console

from idql_tf.errors import Failure, in_one_line
from idql_tf.online.settings import Settings
from idql_tf.online.updates import FinetuneUpdates
from idql_tf.replay.deadlines import ReplayTimeout
from idql_tf.replay.feed import Feed
from idql_tf.replay.journal import Journal, Rows
from idql_tf.replay.layout import Item, pack
from idql_tf.replay.mirror import Mirror
from idql_tf.replay.weights import DONE
from idql_tf.training.checkpoints import Checkpoints
from idql_tf.training.divergence import Guard
from idql_tf.training.learner import IdqlLearner
from idql_tf.training.metrics import MetricsLog
from idql_tf.training.offline import Stopped, StopSignals, progress_bar

# Steps whose updates are run in one call, where more are waiting: SIGTERM waits for it.
_AT_ONCE = 100


class Replay:
    """One learner's way from the server: taken, mirrored, kept.

    Args:
      feed: of the server's queue.
      mirror: what the updates draw from.
      journal: the mirror's rows on disk.
    """

    def __init__(self, feed: Feed, mirror: Mirror, journal: Journal) -> None:
        self._feed, self._mirror, self._journal = feed, mirror, journal
        self._unsaved: list[Rows] = []

    def take(
        self,
        most: int,
        stopped: Callable[[], bool],
        on_wait: Callable[[], None],
    ) -> list[Item]:
        """Moves items that came into the mirror; as `Feed.wait`.

        Raises:
          ReplayTimeout: none comes.
        """
        items = self._feed.wait(most, stopped, on_wait)
        if items:
            packed = np.concatenate([pack(item) for item in items])
            origins = np.stack([item["origin"] for item in items])
            self._mirror.append(packed)
            self._unsaved.append(Rows(packed, origins))
        return items

    def save(self) -> None:
        """Writes to the journal what came since the last call."""
        if self._unsaved:
            rows = Rows(*map(np.concatenate, zip(*self._unsaved, strict=True)))
            first = int(self._mirror.inserted) - len(rows.packed)
            self._journal.write(first, rows)
            self._unsaved = []


def finetune(
    learner: IdqlLearner,
    updates: FinetuneUpdates,
    replay: Replay,
    settings: Settings,
    num_env_steps: int,
    checkpoints: Checkpoints,
    guard: Guard,
    log: MetricsLog,
    evaluate: Callable[[int], None],
    console: Console,
    stop: StopSignals,
    collect: Callable[[], None] | None = None,
    publish: Callable[[int], None] | None = None,
) -> None:
    """Finetunes from where the run is to `num_env_steps` steps of every seed.

    Args:
      learner: what is trained, restored.
      updates: of the learner, on offline and online transitions.
      replay: where experience comes from.
      settings: budget and rhythm.
      num_env_steps: environment steps of each seed in all.
      checkpoints: of the learner.
      guard: of the learner.
      log: where metrics go.
      evaluate: called with the step wherever an evaluation is due, and at the start;
        must not repeat work already recorded.
      console: where progress is shown.
      stop: asked after every step.
      collect: has one item written, where this process acts itself.
      publish: called with the step wherever actors elsewhere should hear of it.

    Raises:
      Stopped: a signal came; everything is saved.
      ReplayTimeout: no experience comes; everything is saved.
      Failure: nothing can be saved.
      FloatingPointError: the learner diverged, or the environment gave a non-finite
        number; nothing of that has been saved.
    """
    step = start = int(learner.env_step)
    updated = [int(learner.critic_step), int(learner.behavior_step)]
    before = [
        count - due for count, due in zip(updated, settings.due(start), strict=True)
    ]
    tell = publish or (lambda step: None)
    meter = _Meter(learner, log)

    def save() -> None:
        guard.check_state()
        try:
            meter.write(step)
            # First what the checkpoint will count on.
            replay.save()
            checkpoints.save()
        except (OSError, tf.errors.OpError) as error:
            raise Failure(
                f"step {step:,} could not be saved ({in_one_line(error)}); what was "
                "saved before is whole: mend it and run the same command again"
            ) from error

    def is_stopped() -> bool:
        return stop.received is not None

    def tell_again() -> None:
        # A server that came back without weights has actors waiting for them.
        tell(step)

    def is_due(every: int) -> bool:
        return step % every == 0 or step >= num_env_steps

    tell(step)
    if is_due(settings.evaluate_every):
        evaluate(step)
    with progress_bar(console) as progress:
        task = progress.add_task("finetuning", total=num_env_steps, completed=start)
        while step < num_env_steps:
            if collect is not None:
                try:
                    collect()
                except FloatingPointError:
                    # An action of weights that are so since the last update?
                    guard.check_state()
                    raise
            steps_left = settings.until_due(step, num_env_steps)
            most = max(1, min(steps_left, _AT_ONCE) // settings.num_environments)
            try:
                items = replay.take(most, is_stopped, tell_again)
            except ReplayTimeout:
                save()
                raise
            meter.add_items(items, step)
            for item in items:
                guard.allow(item["rewards"])
            step += len(items) * settings.num_environments
            due = [b + d for b, d in zip(before, settings.due(step), strict=True)]
            counts = [d - u for d, u in zip(due, updated, strict=True)]
            if any(counts):
                take = functools.partial(updates.train, *counts)
                meter.add_updates(guard.watch(take))
            updated = due
            learner.env_step.assign(step)
            progress.update(task, completed=step)
            if is_due(settings.weights_every):
                tell(step)
            evaluation_due = is_due(settings.evaluate_every)
            if evaluation_due or is_due(settings.checkpoint_every) or stop.received:
                save()
            elif is_due(settings.log_every):
                meter.write(step)
            if stop.received:
                raise Stopped(f"{stop.received}: saved at environment step {step:,}")
            if evaluation_due:
                evaluate(step)
    tell(DONE)


class _Meter:
    """Collects updates' metrics and episodes' returns and writes their means."""

    def __init__(self, learner: IdqlLearner, log: MetricsLog) -> None:
        self._learner, self._log = learner, log
        self._updates: list[dict[str, np.ndarray]] = []
        self._staleness: list[int] = []
        # Of every seed: (undiscounted raw return, steps) of the episodes that ended.
        self._episodes: list[list[tuple[float, float]]] = [[] for _ in learner.seeds]

    def add_updates(self, metrics: dict[str, np.ndarray]) -> None:
        self._updates.append(metrics)

    def add_items(self, items: list[Item], step: int) -> None:
        for item in items:
            self._staleness.append(step - int(item["origin"][2]))
            for e, s in np.argwhere(item["lengths"]):
                episode = item["returns"][e, s], item["lengths"][e, s]
                self._episodes[s].append(episode)

    def write(self, step: int) -> None:
        if not self._staleness:
            # Nothing came since the last row.
            return
        seeds = self._learner.seeds
        names = {name for metrics in self._updates for name in metrics}
        rows = {
            name: np.mean([m[name] for m in self._updates if name in m], axis=0)
            for name in names
        }
        if all(self._episodes):
            returns, lengths = np.transpose(
                [np.mean(episodes, axis=0) for episodes in self._episodes]
            )
            rows |= {"collect/episode_return": returns, "collect/length": lengths}
            self._episodes = [[] for _ in seeds]
        counts: dict[str, float] = {
            "critic/updates": int(self._learner.critic_step),
            "behavior/updates": int(self._learner.behavior_step),
        }
        counts["collect/staleness"] = float(np.mean(self._staleness))
        rows |= {name: np.full(len(seeds), count) for name, count in counts.items()}
        self._log.write(rows, step, step)
        self._updates, self._staleness = [], []
