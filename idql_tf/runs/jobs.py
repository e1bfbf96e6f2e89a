"""What `launch/train.py` and `launch/evaluate.py` do."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.console import Console

from idql_tf import data, exits, extraction, files
from idql_tf.data import rewards
from idql_tf.environments import factory
from idql_tf.errors import UserError
from idql_tf.evaluation import rollouts
from idql_tf.quiet import start_compiler
from idql_tf.runs import directory
from idql_tf.runs.directory import Run
from idql_tf.runs.evaluation import Evaluator, Method
from idql_tf.training import arrays, offline
from idql_tf.training.arrays import DeviceArrays
from idql_tf.training.checkpoints import Checkpoints
from idql_tf.training.divergence import Guard
from idql_tf.training.learner import IdqlLearner
from idql_tf.training.metrics import MetricsLog
from idql_tf.training.offline import Stopped, StopSignals


def train(
    dataset: str, run_dir: str, seeds: Sequence[int], env_id: str | None = None
) -> int:
    """Trains S seeds on a dataset, or resumes; evaluates, summarises and reports.

    Everything that can be refused is refused before anything is written.

    Returns:
      The exit code: 0 when done, 75 when stopped by a signal after saving.

    Raises:
      UserError: the data cannot be trained on, or the run is another one.
    """
    console = Console(soft_wrap=True)
    settings = configured(lambda: offline.Settings())
    transitions = data.load(dataset, env_id=env_id)
    rule = rewards.resolve(settings.reward_rule, transitions)
    path = pathlib.Path(run_dir)
    run = Run(path, transitions.info, rule, tuple(seeds), env_id)
    directory.check(run)
    stop = StopSignals()
    learner = make_learner(run)
    evaluator = configured(lambda: Evaluator(run, learner, console, stop))
    if run.info.env_spec is not None:
        rollouts.check(run.info)
    _describe(console, run, len(transitions))
    placed = arrays.to_device(
        transitions, rule, settings.validation_fraction, settings.best_fraction
    )
    drawn = functools.partial(learner.drawn, placed)
    guard = configured(lambda: Guard(path, learner, drawn, placed.rewards.numpy()))
    with directory.begun(run, transitions, evaluator.methods), stop:
        # From here the device's copy is the only one.
        del transitions
        try:
            _train(run, learner, placed, settings, guard, evaluator, console, stop)
        except Stopped as stopped:
            console.print(f"{stopped}; run the same command again to go on")
            return exits.RESUMABLE
    if run.info.env_spec is None:
        console.print("no environment is recorded: nothing was evaluated (--env_id)")
    evaluator.finish()
    return exits.DONE


def _train(
    run: Run,
    learner: IdqlLearner,
    placed: DeviceArrays,
    settings: offline.Settings,
    guard: Guard,
    evaluator: Evaluator,
    console: Console,
    stop: StopSignals,
) -> None:
    checkpoints = restore(run, learner, settings.keep_checkpoints, console)
    start = int(learner.critic_step)
    if start:
        console.print(f"resuming at critic step {start:,} of {settings.critic_steps:,}")
    evaluator.resume(start, checkpoints.newest)
    log = MetricsLog(run.path, run.seeds, "offline")
    log.resume(start, int(learner.behavior_step))

    def evaluate(step: int) -> None:
        if run.info.env_spec is not None:
            evaluator.evaluate(step, settings.episodes)

    offline.train(
        learner,
        placed,
        settings,
        checkpoints,
        guard,
        log,
        evaluate,
        console,
        stop,
    )


def evaluate(
    run_dir: str,
    episodes: int | None,
    method: str,
    num_candidates: int | None,
    gin_files: Sequence[str] = (),
    gin_params: Sequence[str] = (),
    env_id: str | None = None,
    output_dir: str | None = None,
) -> int:
    """Evaluates a run's newest checkpoint and renews its summary and report.

    Under other settings than the run's own these are those of a directory beside it:
    a run's rows do not tell how they came about, its config.gin does.

    Args:
      run_dir: a run of `train`.
      episodes: per seed; None takes the run's own number.
      method: one of `extraction.METHODS`.
      num_candidates: N; None evaluates the run's own methods for 'argmax', else
        takes their largest N.
      gin_files: read after the run's configuration.
      gin_params: read last.
      env_id: MODULE:ID of the run's environment, where importing MODULE makes it
        known; a run's record never chooses what is imported.
      output_dir: where the results go; by default the run itself, or RUN-evaluated
        where files or parameters change its configuration.

    Returns:
      The exit code: 0 when done, 75 when stopped by a signal.

    Raises:
      UserError: the directory is no run, or has no checkpoint that fits; or the
        output is another run.
    """
    console = Console(soft_wrap=True)
    if env_id is not None:
        factory.parse_spec(env_id)
    run = directory.open_run(run_dir, gin_files, gin_params)
    settings = configured(lambda: offline.Settings())
    stop = StopSignals()
    learner = make_learner(run)
    is_own = directory.keeps_settings(run, gin_files, gin_params)
    place = _place_of_results(run, is_own, output_dir)
    evaluator = configured(
        lambda: Evaluator(place, learner, console, stop, phase=run.phase)
    )
    methods: list[Method] | None = None
    if num_candidates is not None or method != "argmax":
        largest = max((n for _, n in evaluator.methods), default=None)
        if num_candidates is None and largest is None:
            raise UserError(f"{run.path} records no methods; give --num_candidates")
        methods = [(method, num_candidates or largest or 1)]
        extraction.check_method(*methods[0])
        extraction.check_refinable(method, learner.behavior)
    rollouts.check(run.info)
    held = contextlib.ExitStack()
    with held, stop:
        held.enter_context(run.locked(to_read=place is not run))
        restore_trained(run, learner, console)
        if place is not run:
            held.enter_context(directory.evaluated(place, run, evaluator.methods))
            _check_newer(place, run)
        step = newest_step(run, learner)
        try:
            evaluator.evaluate(step, episodes or settings.episodes, methods)
        except Stopped as stopped:
            console.print(str(stopped))
            return exits.RESUMABLE
    evaluator.finish()
    return exits.DONE


def _place_of_results(run: Run, is_own: bool, output_dir: str | None) -> Run:
    """The run itself, or the directory for evaluations under other settings."""
    by_default = run.path if is_own else files.beside(run.path, "evaluated")
    path = pathlib.Path(output_dir or by_default)
    source = run.path.resolve()
    if is_own and path.resolve() == source:
        return run
    place = dataclasses.replace(run, path=path, evaluated_from=str(source))
    try:
        directory.check(place)
    except UserError as error:
        raise UserError(str(error).replace("--run_dir", "--output_dir")) from error
    return place


def _check_newer(place: Run, run: Run) -> None:
    """Refuses evaluations that a run's checkpoints may not have made: it was remade."""
    rows = place.file("evaluations.csv")
    spec = run.file("spec.json").stat().st_mtime
    if rows.exists() and rows.stat().st_mtime < spec:
        raise UserError(
            f"{rows} is older than the run {run.path}, which was made anew; name "
            "another --output_dir"
        )


_Made = TypeVar("_Made")


def configured(make: Callable[[], _Made]) -> _Made:
    """Builds something from gin; what it cannot be built from is a user's error.

    Raises:
      UserError: a value in the configuration has a wrong type or range.
    """
    try:
        return make()
    except UserError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        calls = re.findall(r"In call to configurable '([\w.]+)'", str(error))
        where = f" of {calls[0]}" if calls else ""
        raise UserError(f"the configuration{where} cannot be used: {error}") from error


def make_learner(run: Run) -> IdqlLearner:
    """Builds a run's learner from the configuration in force.

    Raises:
      UserError: a value in the configuration has a wrong type or range, or the
        behaviour model is not one of the data's actions.
    """
    start_compiler()
    info = run.info
    learner = configured(
        lambda: IdqlLearner(info.observation_size, info.action_size, run.seeds)
    )
    found = learner.behavior
    if info.discrete_actions != found.DISCRETE:
        kind, cure = (
            ("discrete", "leave out baselines of continuous ones, add")
            if info.discrete_actions
            else ("continuous", "leave out")
        )
        raise UserError(
            f"{info.dataset} has {kind} actions, found a {found.KIND} behaviour model; "
            f"expected one of {kind} actions; {cure} --gin_file gin/tasks/discrete.gin"
        )
    return learner


def restore(
    run: Run, learner: IdqlLearner, keep: int | None, console: Console
) -> Checkpoints:
    """Loads a run's newest whole checkpoint, if there is one; names damaged ones.

    Args:
      run: the run, locked.
      learner: is changed.
      keep: how many checkpoints later saves keep; None saves none.
      console: where damaged checkpoints are named.

    Raises:
      UserError: none fits the learner.
    """
    checkpoints = Checkpoints(run.file("checkpoints"), learner, keep)
    checkpoints.restore()
    for reason in checkpoints.skipped:
        console.print(f"skipped a damaged checkpoint: {reason}", markup=False)
    return checkpoints


def newest_step(run: Run, learner: IdqlLearner) -> int:
    """How far the run's learner is, as its phase counts."""
    return int(learner.env_step if run.finetuned_from else learner.critic_step)


def restore_trained(run: Run, learner: IdqlLearner, console: Console) -> None:
    """As `restore`, for what needs a checkpoint and changes nothing in the run.

    Raises:
      UserError: there is none, or none fits the learner.
    """
    restore(run, learner, None, console)
    if not int(learner.critic_step):
        raise UserError(f"{run.path} has no checkpoint yet; run train.py first")


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
