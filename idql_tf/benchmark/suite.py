"""The benchmark: everything timed in one run of one program."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gin
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from idql_tf import config
from idql_tf.behavior.updates import Behavior
from idql_tf.benchmark import machine, table, verdicts, workloads
from idql_tf.benchmark.measure import in_turns
from idql_tf.errors import UserError, check_count
from idql_tf.files import check_replaceable, write_atomically
from idql_tf.nn import dense
from idql_tf.quiet import start_compiler
from idql_tf.training.learner import IdqlLearner


@gin.configurable("benchmark")
@dataclasses.dataclass(frozen=True)
class Settings:
    """What the benchmark measures and how long.

    Attributes:
      sizes: gin files of each size, read between gin/base.gin and the user's.
      observation_size: D of the synthetic data.
      action_size: A of the synthetic data.
      num_transitions: of the synthetic data.
      num_seeds: stack sizes S of the updates.
      num_candidates: N of the policy calls.
      exported_candidates: N of the exported model.
      batch_sizes: observations B per policy call.
      repeats: timed calls of each thing, taken in turns.
      stacking_repeats: the same for stacked against unstacked.
      call_seconds: least seconds of a timed update call.
      policy_seconds: least seconds of a timed group of policy calls.
      square_size: side of the large reference product.
      memory_bytes: of the vector that measures the memory rate.
    """

    sizes: Mapping[str, Sequence[str]]
    observation_size: int
    action_size: int
    num_transitions: int
    num_seeds: Sequence[int]
    num_candidates: Sequence[int]
    exported_candidates: int
    batch_sizes: Sequence[int]
    repeats: int
    stacking_repeats: int
    call_seconds: float
    policy_seconds: float
    square_size: int
    memory_bytes: int

    def __post_init__(self) -> None:
        for name in ("repeats", "stacking_repeats"):
            check_count(f"benchmark.{name}", getattr(self, name))
        if not self.sizes:
            raise UserError("benchmark.sizes is empty; expected {name: gin files}")


def run(
    gin_files: Sequence[str], gin_params: Sequence[str], json_file: str | None
) -> None:
    """Measures, prints the tables and verdicts, and writes them as JSON.

    Args:
      gin_files: read after those of each size.
      gin_params: read last.
      json_file: where the results go; None for nowhere.

    Raises:
      UserError: the configuration is wrong, the file's folder does not exist, or the
        file is another than such results.
    """
    if json_file is not None and not pathlib.Path(json_file).resolve().parent.is_dir():
        raise UserError(f"--json {json_file}: its folder does not exist; make it first")
    if json_file is not None:
        check_replaceable(pathlib.Path(json_file), '{\n  "settings"', "--json")
    config.load(gin_files, gin_params)
    start_compiler()
    console = Console(soft_wrap=True)
    # Drawn between the timed calls only, never by a thread beside them.
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(
        *columns, console=console, transient=True, auto_refresh=False
    ) as progress:
        results = measure(Settings(), gin_files, gin_params, progress)
    console.print(table.render(results), markup=False, highlight=False)
    if json_file is not None:
        text = json.dumps(results, indent=2, allow_nan=False) + "\n"
        write_atomically(pathlib.Path(json_file), text)
        console.print(f"all numbers: {json_file}", markup=False, highlight=False)


def measure(
    settings: Settings,
    gin_files: Sequence[str],
    gin_params: Sequence[str],
    progress: Progress,
) -> dict[str, Any]:
    """Runs the benchmark and returns its JSON-able results."""
    start, others = time.perf_counter(), machine.OtherLoad()
    task = progress.add_task("", total=_num_calls(settings))
    results: dict[str, Any] = {
        "settings": dataclasses.asdict(settings),
        "config": {},
        "updates": [],
        "stacking": [],
        "extraction": [],
        "exported": [],
    }

    def timer(title: str, repeats: int, call_seconds: float) -> workloads.Timer:
        def advance() -> None:
            progress.update(task, description=title, advance=1, refresh=True)

        return lambda runs: in_turns(runs, repeats, call_seconds, advance)

    for size, files in settings.sizes.items():
        config.load([*files, *gin_files], gin_params)
        results["config"][size] = config.current()
        for kind, row in _one_size(settings, size, timer):
            results[kind].append({"size": size, **row})
    # Last, so that the learners' numeric switches (TF32) hold for them too.
    results["rates"] = workloads.machine_rates(
        timer("machine", settings.repeats, settings.policy_seconds),
        settings.square_size,
        settings.memory_bytes,
    )
    results["default_xla"] = dense.on_gpu()
    results["seconds"] = time.perf_counter() - start
    results["machine"] = machine.describe() | {"cores_taken_by_others": others.cores()}
    results["verdicts"] = verdicts.judge(results)
    return results


def _one_size(
    settings: Settings, size: str, timer: Callable[..., workloads.Timer]
) -> Iterator[tuple[str, workloads.Row]]:
    sizes = (settings.observation_size, settings.action_size)
    arrays = workloads.synthetic_arrays(settings.num_transitions, *sizes)
    for count in settings.num_seeds:
        learners = {x: IdqlLearner(*sizes, range(count), xla=x) for x in (False, True)}
        if not isinstance(learners[False].behavior, Behavior):
            raise UserError(
                "the benchmark counts the diffusion model's products; expected "
                "IdqlLearner.behavior = @Behavior"
            )
        of_updates = timer(
            f"{size}: updates, S = {count}", settings.repeats, settings.call_seconds
        )
        for row in workloads.updates(of_updates, arrays, learners):
            yield "updates", row
    learner = IdqlLearner(*sizes, (0,))
    of_stacking = timer(
        f"{size}: stacking", settings.stacking_repeats, settings.call_seconds
    )
    yield "stacking", workloads.stacking(of_stacking, learner)
    for count in settings.num_candidates:
        of_policy = timer(
            f"{size}: policy, N = {count}", settings.repeats, settings.policy_seconds
        )
        for row in workloads.extraction(
            of_policy, learner, count, settings.batch_sizes
        ):
            yield "extraction", row
    of_export = timer(f"{size}: exported", settings.repeats, settings.policy_seconds)
    for row in workloads.exported(
        of_export, learner, settings.exported_candidates, settings.batch_sizes
    ):
        yield "exported", row


def _num_calls(settings: Settings) -> int:
    updates = len(settings.num_seeds) * 4 * len(workloads.WORKS)
    policies = 3 * (len(settings.num_candidates) + 1) * len(settings.batch_sizes)
    sizes = len(settings.sizes)
    calls = (2 + sizes * (updates + policies)) * (settings.repeats + 2)
    return calls + 2 * sizes * (settings.stacking_repeats + 2)
