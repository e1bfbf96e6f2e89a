"""What `launch/train.py` and `launch/evaluate.py` do."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from rich.console import Console

from idql_tf import data, extraction
from idql_tf.cli import EXIT_DONE, EXIT_RESUMABLE
from idql_tf.data import rewards
from idql_tf.errors import UserError
from idql_tf.quiet import start_compiler
from idql_tf.runs import directory
from idql_tf.runs.directory import Run
from idql_tf.runs.evaluation import Evaluator, Method
from idql_tf.training import arrays, offline
from idql_tf.training.checkpoints import Checkpoints
from idql_tf.training.learner import Learner
from idql_tf.training.metrics import MetricsLog


def train(
    dataset: str, run_dir: str, seeds: Sequence[int], env_id: str | None = None
) -> int:
    """Trains S seeds on a dataset, or resumes; evaluates, summarises and reports.

    Returns:
      The exit code: 0 when done, 75 when stopped by SIGTERM after saving.

    Raises:
      UserError: the data cannot be trained on, or the run is another one.
    """
    console = Console(soft_wrap=True)
    settings = offline.Settings()
    if settings.reward_rule not in rewards.NAMES:
        raise UserError(
            f"train.reward_rule is {settings.reward_rule!r}; "
            f"expected one of {rewards.NAMES}"
        )
    transitions = data.load(dataset, env_id=env_id)
    rule = rewards.resolve(settings.reward_rule, transitions)
    run = directory.start(run_dir, transitions, rule, seeds)
    _describe(console, run, len(transitions))
    placed = arrays.to_device(transitions, rule, settings.validation_fraction)
    # From here the device's copy is the only one.
    del transitions
    learner, checkpoints = _learner(run, settings.keep_checkpoints)
    evaluator = Evaluator(run, learner, console)
    evaluator.resume(checkpoints.restore() or 0)
    log = MetricsLog(run.path, run.seeds, "offline")

    def evaluate(step: int) -> None:
        if run.info.env_spec is not None:
            evaluator.evaluate(step, settings.episodes)

    finished = offline.train(
        learner, placed, settings, checkpoints, log, evaluate, console
    )
    if not finished:
        return EXIT_RESUMABLE
    if run.info.env_spec is None:
        console.print("no environment is recorded: nothing was evaluated (--env_id)")
    evaluator.finish()
    return EXIT_DONE


def evaluate(
    run_dir: str, episodes: int | None, method: str, num_candidates: int | None
) -> None:
    """Evaluates a run's newest checkpoint and renews its summary and report.

    Args:
      run_dir: a run of `train`.
      episodes: per seed; None takes the run's own number.
      method: one of `extraction.METHODS`.
      num_candidates: N; None evaluates the run's own methods.

    Raises:
      UserError: the directory is no run, or has no checkpoint that fits.
    """
    console = Console(soft_wrap=True)
    if method not in extraction.METHODS:
        raise UserError(
            f"extraction is {method!r}; expected one of {extraction.METHODS}"
        )
    run = directory.open_run(run_dir)
    settings = offline.Settings()
    learner, checkpoints = _learner(run, settings.keep_checkpoints)
    step = checkpoints.restore()
    if step is None:
        raise UserError(f"{run_dir} has no checkpoint yet; run train.py first")
    evaluator = Evaluator(run, learner, console)
    methods: list[Method] | None = None
    if num_candidates is not None or method != "argmax":
        methods = [(method, num_candidates or max(n for _, n in evaluator.methods))]
    evaluator.evaluate(step, episodes or settings.episodes, methods)
    evaluator.finish()


def _learner(run: Run, keep: int) -> tuple[Learner, Checkpoints]:
    start_compiler()
    learner = Learner(run.info.observation_size, run.info.action_size, run.seeds)
    return learner, Checkpoints(pathlib.Path(run.path) / "checkpoints", learner, keep)


def _describe(console: Console, run: Run, num_transitions: int) -> None:
    info, reference = run.info, run.info.reference
    lines = [
        f"data: {info.dataset}, {num_transitions:,} transitions in "
        f"{info.num_episodes:,} episodes, observation {info.observation_size}, "
        f"action {info.action_size}",
        f"reward rule: {run.rule.name} (r x {run.rule.scale:.6g} + "
        f"{run.rule.offset:g})",
        f"seeds: {', '.join(map(str, run.seeds))} in one program; run: {run.path}",
    ]
    if reference is not None:
        lines.append(
            f"score: 0 = return {reference.minimum:g}, 100 = return "
            f"{reference.maximum:g} ({reference.source})"
        )
    for line in lines:
        console.print(line, markup=False, highlight=False)
