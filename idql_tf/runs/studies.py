"""Runs a study: every arm on every task, one after the other.

Each is a process of its own and an ordinary run of launch/train.py or
launch/finetune.py, which other scripts take. What is finished is not repeated, so the
same command goes on.
"""

from __future__ import annotations

import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import gin
from rich.console import Console

from idql_tf import config, data, exits
from idql_tf.data import rewards
from idql_tf.environments.collect import collect
from idql_tf.errors import Failure, UserError
from idql_tf.evaluation import records, rollouts
from idql_tf.evaluation.records import Method
from idql_tf.experiments import ablations, claims, study, study_plot, tables
from idql_tf.experiments.claims import Result
from idql_tf.experiments.study import Study
from idql_tf.online import settings as online
from idql_tf.runs import directory, jobs
from idql_tf.runs.directory import Run
from idql_tf.training import offline
from idql_tf.training.offline import StopSignals

STUDIES: dict[str, Callable[[], Study]] = {
    "figure4": ablations.figure4,
    "figure5": ablations.figure5,
    "figure6": ablations.figure6,
    "figure7": ablations.figure7,
    "figure8": ablations.figure8,
    "figure9": tables.figure9,
    "table1": tables.table1,
    "table3": tables.table3,
    "table4": tables.table4,
    "table5": tables.table5,
}
_POLL_SECONDS = 0.1


class _Job(NamedTuple):
    """One run: its directory, its command line, and whether nothing is left to do."""

    path: pathlib.Path
    command: list[str]
    is_done: bool


def run(
    name: str,
    folder: pathlib.Path,
    budget: str,
    gin_files: Sequence[str] = (),
    gin_params: Sequence[str] = (),
) -> int:
    """Runs a study; writes its picture, its numbers and its verdict.

    All data, settings and existing runs are looked at before anything is trained.

    Args:
      name: one of `STUDIES`.
      folder: for NAME.png, NAME.csv, NAME.json, and NAME-runs with every run.
      budget: gin/studies/BUDGET.gin says what it runs on, and how long.
      gin_files: read after it, and by every run after its task's.
      gin_params: the same.

    Returns:
      The exit code: 0 when done, 75 when stopped by a signal after saving.

    Raises:
      UserError: the data, a setting or a run that is there cannot be used.
      Failure: a run failed.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    with gin.config_scope(name):
        files = [f"gin/studies/{one}.gin" for one in ("common", budget)]
        config.load([*files, *gin_files], gin_params)
        settings = jobs.configured(lambda: study.Settings())
        what = jobs.configured(STUDIES[name])
    found: dict[str, dict[str, _Job]] = {}
    runs = (folder / f"{name}-runs").absolute()
    for task in settings.on:
        found[task] = _planned(what, task, runs, settings, gin_files, gin_params)
    with StopSignals() as stop:
        wanted = [job for of in found.values() for job in of.values()]
        if not _run_all(wanted, name, console, stop):
            return exits.RESUMABLE
    rows, data_scores = [], {}
    for task, of in found.items():
        rows += study.read(what, task, {arm: job.path for arm, job in of.items()})
        first = of[what.arms[0].name].path
        data_scores[task] = directory.read_spec(first).get("dataset_score")
    picture = study_plot.draw(what, rows, data_scores)
    result = Result(picture, rows, study.claims(what, rows, settings))
    said = claims.write(result, name, folder)
    console.print(study.table(rows))
    console.print(said)
    return exits.DONE


def _planned(
    what: Study,
    task: str,
    folder: pathlib.Path,
    settings: study.Settings,
    gin_files: Sequence[str],
    gin_params: Sequence[str],
) -> dict[str, _Job]:
    """A task's runs by arm, all of them looked at.

    Raises:
      UserError: the data, the environment, a setting or a run that is there cannot be
        used.
    """
    entry = settings.tasks[task]
    env_id = entry.get("env_id")
    dataset = _dataset(entry["dataset"], folder / f"{task}-data")
    paths = {arm.name: folder / f"{task}-{arm.name}" for arm in what.arms}
    first = paths[what.arms[0].name]
    base: tuple[list[str], list[str]] = [], []
    found: dict[str, _Job] = {}
    for arm in what.arms:
        path = paths[arm.name]
        if arm.mode:
            config.load(
                [*base[0], f"gin/finetune/{arm.mode}.gin", *arm.gin_files],
                [*base[1], *arm.bindings],
            )
            jobs.configured(lambda: online.Settings())
            command = _command("finetune.py", arm.gin_files, arm.bindings)
            command += [f"--run_dir={first}", f"--output_dir={path}"]
            command += [f"--mode={arm.mode}"]
            command += [f"--num_env_steps={settings.num_env_steps}"]
            end = records.PHASES.index("online"), settings.num_env_steps
        else:
            files = [*entry.get("gin_files", ()), *gin_files, *arm.gin_files]
            params = [*entry.get("gin_params", ()), *gin_params, *arm.bindings]
            config.load(files, params)
            budget = jobs.configured(lambda: offline.Settings())
            if not found:
                base = files, params
                # The same for all arms; the data themselves are not kept.
                transitions = data.load(dataset, env_id=env_id)
                info = transitions.info
                if info.discrete_actions:
                    raise UserError(
                        f"{dataset} has discrete actions; expected continuous ones: "
                        "studies compare diffusion and Gaussian models"
                    )
                rollouts.check(info)
                rule = rewards.resolve(budget.reward_rule, transitions)
                del transitions
            _check(Run(path, info, rule, tuple(settings.seeds), env_id))
            command = _command("train.py", files, params)
            command += [f"--dataset={dataset}", f"--run_dir={path}"]
            command += [f"--seeds={','.join(map(str, settings.seeds))}"]
            end = records.PHASES.index("offline"), budget.critic_steps
        command += [f"--env_id={env_id}"] if env_id else []
        found[arm.name] = _Job(path, command, _is_done(path, end))
    return found


def _dataset(name: str, folder: pathlib.Path) -> str:
    """The dataset; one that is to be collected is, unless it is there."""
    kind, _, rest = name.partition(":")
    if kind != "collect":
        return name
    env_id, _, steps = rest.rpartition(":")
    if not steps.isdecimal():
        raise UserError(f"the dataset is {name!r}; expected 'collect:ENV:STEPS'")
    if not folder.exists():
        collect(env_id, int(steps), str(folder), 0)
    return f"minari:{folder}"


def _command(
    script: str, gin_files: Sequence[str], gin_params: Sequence[str]
) -> list[str]:
    flags = [f"--gin_file={file}" for file in gin_files]
    flags += [f"--gin_param={param}" for param in gin_params]
    return [sys.executable, str(config.ROOT / "launch" / script), *flags]


def _check(run: Run) -> None:
    try:
        directory.check(run)
    except UserError as error:
        raise UserError(str(error).replace("--run_dir", "--output")) from error


def _is_done(path: pathlib.Path, end: tuple[int, int]) -> bool:
    """Whether a run has its evaluations at this phase and step, and its summary."""
    if not (path / "summary.json").is_file():
        return False
    run = records.read_run(path)
    methods = {Method(*method) for method in run.spec.get("methods", ())}
    return methods <= set(records.methods(run)) and all(
        records.final_point(run, method) >= end for method in methods
    )


def _run_all(
    wanted: Sequence[_Job], name: str, console: Console, stop: StopSignals
) -> bool:
    """Runs what is not done; False when stopped by a signal.

    Raises:
      UserError: a run was refused.
      Failure: a run failed.
    """
    missing = [job for job in wanted if not job.is_done]
    done = len(wanted) - len(missing)
    console.print(f"{name}: {len(wanted)} runs, {done} of them finished before")
    begun = time.monotonic()
    for index, job in enumerate(missing):
        each = (time.monotonic() - begun) / max(index, 1) / 60
        left = f", about {each * (len(missing) - index):,.0f} min left" if index else ""
        console.print(f"run {done + index + 1} of {len(wanted)}{left}: {job.path}.log")
        code = _execute(job, stop)
        if stop.received or code == exits.RESUMABLE:
            console.print(f"{stop.received or job.path}: stopped; run the same command")
            return False
        if code != exits.DONE:
            reason = f"{job.path.name}: {_reason(job)}"
            if code == exits.BAD_USAGE:
                raise UserError(reason)
            raise Failure(f"{reason}; see {job.path}.log")
    return True


def _execute(job: _Job, stop: StopSignals) -> int:
    """Runs a script, what it prints going to PATH.log; a signal is passed on once."""
    job.path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{job.path}.log", "a") as log:
        print("$", shlex.join(job.command), file=log, flush=True)
        # Out of the terminal's reach: Ctrl-C would otherwise be its second signal.
        process = subprocess.Popen(
            job.command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        passed_on = False
        while process.poll() is None:
            time.sleep(_POLL_SECONDS)
            if stop.received and not passed_on:
                process.terminate()
                passed_on = True
    return process.returncode


def _reason(job: _Job) -> str:
    """The last line a script printed."""
    lines = pathlib.Path(f"{job.path}.log").read_text(errors="replace").split("\n")
    return next(filter(None, map(str.strip, reversed(lines)))).removeprefix("error: ")
