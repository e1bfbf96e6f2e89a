"""What `launch/sweep.py` does: tasks x seeds on a Ray cluster, one table at the end."""

from __future__ import annotations

import contextlib
import csv
import io
import pathlib
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from idql_tf import config, exits, files
from idql_tf.evaluation import records, report, statistics, summary
from idql_tf.runs import jobs, ray_library
from idql_tf.runs.placement import Placement, Sweep
from idql_tf.training.offline import StopSignals, progress_bar

_HEADER = ("task", "method", "score", "IQM", "95 % interval", "success", "per seed")


def run(
    spec: str,
    output_dir: str | None = None,
    gin_files: Sequence[str] = (),
    gin_params: Sequence[str] = (),
) -> int:
    """Runs a sweep; what is finished is not repeated.

    Args:
      spec: gin file with `sweep.tasks`; what else it binds holds in every run, before
        the task's own files.
      output_dir: by default runs/SPEC; has a run directory for every task and group
        of seeds, what each run printed, table.csv and report.html.
      gin_files: read after those of each task.
      gin_params: read last.

    Returns:
      The exit code: 0 when all is done, 1 when a run failed, 75 when stopped by a
      signal after saving.

    Raises:
      UserError: the sweep cannot be run.
    """
    console = Console(soft_wrap=True)
    config.load([spec, *gin_files], gin_params)
    sweep = jobs.configured(lambda: Sweep())
    placement = jobs.configured(lambda: Placement())
    folder = pathlib.Path(output_dir or f"runs/{pathlib.Path(spec).stem}").absolute()
    wanted = _runs(sweep, folder, [spec], gin_files, gin_params)
    failed: dict[pathlib.Path, str] = {}
    with ray_library.connected() as ray:
        cpus, gpus = placement.learner_cpus, placement.learner_gpus
        ray_library.check_room(ray, CPU=cpus, GPU=gpus)
        folder.mkdir(parents=True, exist_ok=True)
        start = ray_library.run_as_task(ray).options(**placement.learner)
        running = {start.remote("sweep.one", *w): path for path, w in wanted.items()}
        with StopSignals() as stop, progress_bar(console) as progress:
            bar = progress.add_task("runs of the sweep", total=len(running))
            while running and stop.received is None:
                ended, _ = ray.wait(list(running), timeout=0.5)
                for one in ended:
                    path = running.pop(one)
                    if reason := _why_not(ray, one):
                        failed[path] = reason
                        console.print(f"{path.name} failed: {reason}", markup=False)
                    progress.update(bar, advance=1)
        if running:
            saved = ray_library.end(ray, list(running))
            how = "saved" if saved else "stopped, some before they had saved"
            console.print(f"{stop.received}: {how}; the same command goes on")
            return exits.RESUMABLE
    _finish(sweep, [path for path in wanted if path not in failed], folder, console)
    return exits.FAILED if failed else exits.DONE


def one(
    dataset: str,
    path: str,
    seeds: Sequence[int],
    env_id: str | None,
    gin_files: Sequence[str],
    gin_params: Sequence[str],
    mode: str,
    num_env_steps: int,
) -> int:
    """One run of the sweep, in a process of Ray's; what it prints goes to PATH.log."""
    with open(f"{path}.log", "a") as log, contextlib.redirect_stdout(log):
        config.load(gin_files, gin_params)
        code = jobs.train(dataset, path, seeds, env_id)
        if code == exits.DONE and mode:
            from idql_tf.runs import finetune
            from idql_tf.runs.online import Request

            # Its config.gin has what the files say; read again they would come after
            # the mode's.
            request = Request(path, mode, env_id=env_id)
            code = finetune.finetune(request, num_env_steps)
    return code


def _why_not(ray: Any, task: Any) -> str | None:
    """Why a run did not end well, if it did not."""
    try:
        code = ray_library.result(ray, task)
    except Exception as error:
        return " ".join(str(error).split())[:300]
    return None if code == exits.DONE else "stopped by a signal; run the sweep again"


def _runs(
    sweep: Sweep,
    folder: pathlib.Path,
    first: Sequence[str],
    last: Sequence[str],
    params: Sequence[str],
) -> dict[pathlib.Path, tuple]:
    """The arguments of `one` for each run directory."""
    found: dict[pathlib.Path, tuple] = {}
    for name, task in sweep.tasks.items():
        own_files = [*first, *task.get("gin_files", ()), *last]
        own = [*task.get("gin_params", ()), *params]
        for seeds in sweep.groups():
            path = folder / run_name(name, seeds)
            what = (task["dataset"], str(path), seeds, task.get("env_id"))
            found[path] = (*what, own_files, own, sweep.finetune, sweep.num_env_steps)
    return found


def run_name(task: str, seeds: Sequence[int]) -> str:
    """The directory of a run in the sweep's own."""
    return f"{task}-seed{'-'.join(map(str, seeds))}"


def _finish(
    sweep: Sweep,
    done: Sequence[pathlib.Path],
    folder: pathlib.Path,
    console: Console,
) -> None:
    """Prints the table and writes it and the report."""
    suffix = f"-{sweep.finetune}" if sweep.finetune else ""
    results = {path.name: path.with_name(path.name + suffix) for path in done}
    if not results:
        return
    rows: list[tuple[str, ...]] = [_HEADER]
    for name in sweep.tasks:
        names = [run_name(name, seeds) for seeds in sweep.groups()]
        rows += _rows(name, [results[n] for n in names if n in results])
    console.print("\n".join(summary.align(rows)), markup=False, highlight=False)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    files.write_atomically(folder / "table.csv", text.getvalue())
    page = report.write(list(results.values()), folder / "report.html")
    console.print(f"report: {page}", markup=False)


def _rows(task: str, runs: Sequence[pathlib.Path]) -> list[tuple[str, ...]]:
    """A task's results by method, its runs taken together."""
    main: dict[str, list[float]] = {}
    success: dict[str, list[float]] = {}
    for path in runs:
        for entry in summary.summarize(records.read_run(path))["methods"]:
            label, measure = entry["label"], summary.primary(entry)
            main.setdefault(label, []).extend(entry[measure]["per_seed"].values())
            rates = entry["success"]["per_seed"].values()
            success.setdefault(label, []).extend(rates)
    rows: list[tuple[str, ...]] = []
    for label, values in main.items():
        rate = float(statistics.mean(success[label])) if success[label] else None
        rows.append(
            (
                task,
                label,
                summary.number(float(statistics.mean(values))),
                summary.number(float(statistics.interquartile_mean(values))),
                summary.interval(statistics.bootstrap_interval(values)),
                summary.percent(rate),
                " ".join(map(summary.number, values)),
            )
        )
    return rows
