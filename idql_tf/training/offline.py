"""The offline loop: blocks of updates, logs, checkpoints and evaluations."""

from __future__ import annotations

import dataclasses
import functools
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import gin
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)

from idql_tf.errors import UserError, check_count, check_number
from idql_tf.exits import stopping
from idql_tf.training.arrays import DeviceArrays
from idql_tf.training.checkpoints import Checkpoints
from idql_tf.training.divergence import Guard
from idql_tf.training.learner import IdqlLearner
from idql_tf.training.metrics import MetricsLog


@gin.configurable("train")
@dataclasses.dataclass(frozen=True)
class Settings:
    """Budget and rhythm of a training run; steps are critic updates.

    Attributes:
      critic_steps: critic updates in all.
      behavior_steps: behaviour updates in all, spread evenly over the critic's.
      reward_rule: one of `idql_tf.data.rewards.NAMES`.
      validation_fraction: part of the transitions held out of training.
      best_fraction: part of the episodes, those with the best returns, trained on.
      block_steps: updates per compiled call, at most, of critic or behaviour model,
        whichever takes more.
      log_every: steps between rows of metrics.csv.
      checkpoint_every: steps between checkpoints.
      evaluate_every: steps between evaluations.
      episodes: episodes per evaluation, method and seed.
      keep_checkpoints: how many of the newest are kept.
    """

    critic_steps: int
    behavior_steps: int
    reward_rule: str
    validation_fraction: float
    best_fraction: float
    block_steps: int
    log_every: int
    checkpoint_every: int
    evaluate_every: int
    episodes: int
    keep_checkpoints: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.type == "int":
                least = 0 if field.name == "behavior_steps" else 1
                check_count(f"train.{field.name}", getattr(self, field.name), least)
        if not 0.0 <= self.validation_fraction < 1.0:
            raise UserError(
                f"train.validation_fraction is {self.validation_fraction}; "
                "expected at least 0 and below 1"
            )
        # Less than any share of one episode would leave one all the same.
        check_number("train.best_fraction", self.best_fraction, least=1e-9, most=1.0)

    def behavior_target(self, critic_step: int) -> int:
        """Behaviour updates due when the critic has taken `critic_step`."""
        return self.behavior_steps * critic_step // self.critic_steps

    def blocks(self, start: int) -> Iterator[int]:
        """Critic steps at which the blocks after `start` end.

        Every log, checkpoint and evaluation falls on the end of a block.
        """
        most = max(self.critic_steps, self.behavior_steps)
        at_most = max(1, self.block_steps * self.critic_steps // most)
        step = start
        while step < self.critic_steps:
            marks = (self.log_every, self.checkpoint_every, self.evaluate_every)
            ends = [every * (step // every + 1) for every in marks]
            step = min(step + at_most, self.critic_steps, *ends)
            yield step

    def due(self, every: int, step: int) -> bool:
        """Whether something done every `every` steps is due at `step`."""
        return step % every == 0 or step == self.critic_steps


class Stopped(Exception):
    """A signal asked the program to stop; everything worth saving is saved."""


class StopSignals:
    """Turns the first SIGTERM, SIGHUP or Ctrl-C into a flag; the second one kills.

    Use as a context manager; the handlers before it are put back at its end. Also of a
    SIGTERM that came before, and whose exception a library has swallowed.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in stopping():
            self._before[number] = signal.signal(number, self._receive)
        if getattr(self._before[signal.SIGTERM], "received", False):
            self.received = signal.SIGTERM.name
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: object) -> None:
        self.received = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)


def train(
    learner: IdqlLearner,
    arrays: DeviceArrays,
    settings: Settings,
    checkpoints: Checkpoints,
    guard: Guard,
    log: MetricsLog,
    evaluate: Callable[[int], None],
    console: Console,
    stop: StopSignals,
) -> None:
    """Trains from where the learner is to the end.

    Args:
      learner: what is trained, restored already if there is something to restore.
      arrays: the data.
      settings: budget and rhythm.
      checkpoints: of the learner.
      guard: of the learner.
      log: where metrics go.
      evaluate: called with the critic step wherever an evaluation is due, also
        at the start of a resumed run; must not repeat work already recorded.
      console: where progress is shown.
      stop: asked after every block.

    Raises:
      Stopped: a signal came; a checkpoint has been saved.
      FloatingPointError: the learner diverged; nothing of that has been saved.
    """
    start = int(learner.critic_step)
    if start and settings.due(settings.evaluate_every, start):
        evaluate(start)
    meter = _Meter(learner, arrays, log, console, settings.critic_steps)
    with progress_bar(console) as progress:
        task = progress.add_task(
            "training", total=settings.critic_steps, completed=start
        )
        for step in settings.blocks(start):
            counts = (
                step - int(learner.critic_step),
                settings.behavior_target(step) - int(learner.behavior_step),
            )
            take = functools.partial(learner.train, arrays, *counts)
            meter.add(guard.watch(take), *counts)
            progress.update(task, completed=step)
            evaluation_due = settings.due(settings.evaluate_every, step)
            save = evaluation_due or settings.due(settings.checkpoint_every, step)
            save = save or stop.received is not None
            if save:
                guard.check_state()
            # One row at every checkpoint makes a resumed run's rows those of an
            # uninterrupted one, for rows average the blocks since the last.
            if save or settings.due(settings.log_every, step):
                meter.write(step)
            if save:
                checkpoints.save()
            if stop.received:
                raise Stopped(f"{stop.received}: saved at critic step {step:,}")
            if evaluation_due:
                evaluate(step)
                meter.restart_clock()


class _Meter:
    """Collects the blocks' metrics and writes their means."""

    def __init__(
        self,
        learner: IdqlLearner,
        arrays: DeviceArrays,
        log: MetricsLog,
        console: Console,
        total: int,
    ) -> None:
        self._learner, self._arrays, self._log = learner, arrays, log
        self._console, self._total = console, total
        self._blocks: list[tuple[dict[str, np.ndarray], dict[str, int]]] = []
        self._step = int(learner.critic_step)
        self.restart_clock()

    def restart_clock(self) -> None:
        self._clock = time.perf_counter()

    def add(
        self, metrics: dict[str, np.ndarray], critic_updates: int, behavior_updates: int
    ) -> None:
        counts = {"critic": critic_updates, "behavior": behavior_updates}
        self._blocks.append((metrics, counts))

    def write(self, step: int) -> None:
        elapsed = max(time.perf_counter() - self._clock, 1e-9)
        rate = (step - self._step) / elapsed
        rows = {
            name: self._mean(name)
            for name in {name for metrics, _ in self._blocks for name in metrics}
        }
        validation = self._learner.validate(self._arrays)
        rows |= {name: value.numpy() for name, value in validation.items()}
        rows["time/steps_per_second"] = np.full(len(self._learner.seeds), rate)
        self._log.write(rows, step, int(self._learner.behavior_step))
        if not self._console.is_terminal:
            # Where no bar can be drawn, in a file or under a scheduler.
            left = (self._total - step) / rate / 60
            self._console.print(
                f"step {step:,} of {self._total:,}, {rate:,.0f} steps/s, "
                f"{left:,.0f} min left; Q loss {np.mean(rows['critic/q_loss']):.4g}",
                highlight=False,
            )
        self._blocks, self._step = [], step
        self.restart_clock()

    def _mean(self, name: str) -> np.ndarray:
        """Over the updates of the metric's room; blocks are not equally long."""
        room = name.partition("/")[0]
        found = [(m[name], counts[room]) for m, counts in self._blocks if name in m]
        values, weights = zip(*found, strict=True)
        return np.average(values, axis=0, weights=weights)


class _Rate(ProgressColumn):
    """Steps per second of the bar's recent past."""

    def render(self, task: Task) -> str:
        speed = task.finished_speed or task.speed
        return f"{speed:,.0f} steps/s" if speed else ""


def progress_bar(console: Console) -> Progress:
    """A bar of steps, their rate and the time left, where one can be drawn."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal,
        refresh_per_second=4,
    )
