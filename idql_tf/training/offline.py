"""The offline loop: blocks of updates, logs, checkpoints and evaluations."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator

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

from idql_tf.errors import UserError
from idql_tf.training.arrays import DeviceArrays
from idql_tf.training.checkpoints import Checkpoints
from idql_tf.training.learner import Learner
from idql_tf.training.metrics import MetricsLog, check_finite


@gin.configurable("train")
@dataclasses.dataclass(frozen=True)
class Settings:
    """Budget and rhythm of a training run; steps are critic updates.

    Attributes:
      critic_steps: critic updates in all.
      behavior_steps: behaviour updates in all, spread evenly over the critic's.
      reward_rule: one of `idql_tf.data.rewards.NAMES`.
      validation_fraction: part of the transitions held out of training.
      block_steps: critic updates per compiled call, at most.
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
    block_steps: int
    log_every: int
    checkpoint_every: int
    evaluate_every: int
    episodes: int
    keep_checkpoints: int

    def __post_init__(self) -> None:
        for name in ("critic_steps", "block_steps", "log_every", "checkpoint_every"):
            _at_least(self, name, 1)
        for name in ("evaluate_every", "episodes", "keep_checkpoints"):
            _at_least(self, name, 1)
        _at_least(self, "behavior_steps", 0)
        if not 0.0 <= self.validation_fraction < 1.0:
            raise UserError(
                f"train.validation_fraction is {self.validation_fraction}; "
                "expected at least 0 and below 1"
            )

    def behavior_target(self, critic_step: int) -> int:
        """Behaviour updates due when the critic has taken `critic_step`."""
        return self.behavior_steps * critic_step // self.critic_steps

    def blocks(self, start: int) -> Iterator[int]:
        """Critic steps at which the blocks after `start` end.

        Every log, checkpoint and evaluation falls on the end of a block.
        """
        step = start
        while step < self.critic_steps:
            marks = (self.log_every, self.checkpoint_every, self.evaluate_every)
            ends = [every * (step // every + 1) for every in marks]
            step = min(step + self.block_steps, self.critic_steps, *ends)
            yield step

    def due(self, every: int, step: int) -> bool:
        """Whether something done every `every` steps is due at `step`."""
        return step % every == 0 or step == self.critic_steps


def _at_least(settings: Settings, name: str, minimum: int) -> None:
    value = getattr(settings, name)
    if not isinstance(value, int) or value < minimum:
        raise UserError(f"train.{name} is {value}; expected an integer >= {minimum}")


class StopRequested:
    """True once SIGTERM has arrived; the loop then saves and stops."""

    def __init__(self) -> None:
        self._stop = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, *_: object) -> None:
        self._stop = True

    def __bool__(self) -> bool:
        return self._stop


def train(
    learner: Learner,
    arrays: DeviceArrays,
    settings: Settings,
    checkpoints: Checkpoints,
    log: MetricsLog,
    evaluate: Callable[[int], None],
    console: Console,
) -> bool:
    """Runs or resumes training.

    Args:
      learner: what is trained; restored from its newest checkpoint first.
      arrays: the data.
      settings: budget and rhythm.
      checkpoints: of the learner.
      log: where metrics go.
      evaluate: called with the critic step wherever an evaluation is due, also
        at the start of a resumed run; must not repeat work already recorded.
      console: where the progress bar is drawn.

    Returns:
      True when all steps are taken, False after SIGTERM (saved, resumable).

    Raises:
      FloatingPointError: a loss became non-finite.
      UserError: no checkpoint can be read.
    """
    stop = StopRequested()
    start = checkpoints.restore() or 0
    log.resume(start, int(learner.behavior_step))
    if start:
        console.print(f"resuming at critic step {start:,} of {settings.critic_steps:,}")
        if settings.due(settings.evaluate_every, start):
            evaluate(start)
    with _progress(console) as progress:
        task = progress.add_task(
            "training", total=settings.critic_steps, completed=start
        )
        pending: list[dict[str, np.ndarray]] = []
        clock, clock_step = time.perf_counter(), start
        for step in settings.blocks(start):
            metrics = _train_to(learner, arrays, settings, step)
            check_finite(metrics, learner.seeds, step)
            pending.append(metrics)
            progress.update(task, completed=step)
            evaluation_due = settings.due(settings.evaluate_every, step)
            save = bool(stop) or evaluation_due
            save = save or settings.due(settings.checkpoint_every, step)
            # Metrics average the blocks since the last row; one at every checkpoint
            # makes a resumed run's rows those of an uninterrupted one.
            if save or settings.due(settings.log_every, step):
                elapsed = time.perf_counter() - clock
                rate = (step - clock_step) / max(elapsed, 1e-9)
                _write(log, learner, arrays, pending, rate, step)
                pending = []
                clock, clock_step = time.perf_counter(), step
            if save:
                checkpoints.save()
            if stop:
                console.print(f"SIGTERM: saved at critic step {step:,}")
                return False
            if evaluation_due:
                evaluate(step)
                clock = time.perf_counter()
    return True


def _train_to(
    learner: Learner, arrays: DeviceArrays, settings: Settings, step: int
) -> dict[str, np.ndarray]:
    critic_updates = step - int(learner.critic_step)
    behavior_updates = settings.behavior_target(step) - int(learner.behavior_step)
    metrics = learner.train(arrays, critic_updates, behavior_updates)
    return {name: value.numpy() for name, value in metrics.items()}


def _write(
    log: MetricsLog,
    learner: Learner,
    arrays: DeviceArrays,
    pending: list[dict[str, np.ndarray]],
    rate: float,
    step: int,
) -> None:
    names = {name for metrics in pending for name in metrics}
    rows = {
        name: np.mean([m[name] for m in pending if name in m], axis=0) for name in names
    }
    rows |= {k: v.numpy() for k, v in learner.validate(arrays).items()}
    rows["time/steps_per_second"] = np.full(len(learner.seeds), rate)
    log.write(rows, step, int(learner.behavior_step))


class _Rate(ProgressColumn):
    """Steps per second of the bar's recent past."""

    def render(self, task: Task) -> str:
        speed = task.finished_speed or task.speed
        return f"{speed:,.0f} steps/s" if speed else ""


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        refresh_per_second=4,
    )
