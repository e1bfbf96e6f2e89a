"""What `launch/export.py` does."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from idql_tf import config, extraction, files
from idql_tf.environments import factory
from idql_tf.evaluation import records, summary
from idql_tf.export import card, parity, saved_model, tflite
from idql_tf.policies import IdqlPolicy
from idql_tf.policies.checks import safe_action
from idql_tf.runs import directory, jobs
from idql_tf.runs import policy as run_policy
from idql_tf.runs.directory import Run
from idql_tf.training.learner import IdqlLearner

# Above this part of the choice's worth, a lower precision is worth a warning.
_NOTICEABLE = 0.05
# Of one call, so that a check takes seconds however many candidates there are.
_CHECKED_CANDIDATES = 2**15


@dataclasses.dataclass(frozen=True)
class Request:
    """What to export.

    Attributes:
      seed: training seed; None takes the run's first.
      ensemble: take all seeds, as one policy.
      method: one of `extraction.METHODS`.
      num_candidates: N; None takes the run's largest. Of an ensemble, each seed
        proposes N / S of them, rounded up.
      bfloat16: dense layers in bfloat16.
      tflite: also write model_float32.tflite and model_float16.tflite.
      safe_action: answer to a non-finite observation; None: an assertion error.
    """

    seed: int | None = None
    ensemble: bool = False
    method: str = "argmax"
    num_candidates: int | None = None
    bfloat16: bool = False
    tflite: bool = False
    safe_action: tuple[float, ...] | None = None


def export(
    run_dir: str,
    output: str,
    request: Request,
    gin_files: Sequence[str] = (),
    gin_params: Sequence[str] = (),
    env_id: str | None = None,
) -> None:
    """Writes a run's policy as a SavedModel, checked against the policy itself.

    The directory appears complete or not at all.

    Args:
      run_dir: a run of `train`.
      output: the directory to make.
      request: what to export.
      gin_files: read after the run's configuration.
      gin_params: read last.
      env_id: as of `runs.jobs.evaluate`.

    Raises:
      UserError: there is no run, checkpoint or seed of that name, `output` is there or
        cannot be made, or a setting does not fit.
      ParityError: the exported model does not act as the policy.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    target = pathlib.Path(output)
    files.check_new(target)
    if env_id is not None:
        factory.parse_spec(env_id)
    run = directory.open_run(run_dir, gin_files, gin_params)
    is_own = directory.keeps_settings(run, gin_files, gin_params)
    spec = directory.read_spec(run.path)
    total = request.num_candidates or run_policy.largest_num_candidates(run)
    extraction.check_method(request.method, total)
    if request.tflite:
        tflite.check_method(request.method)
    info = run.info
    low, high = info.action_low, info.action_high
    safe_action(request.safe_action, low, high, info.discrete_actions)
    console.print(f"restoring {run.path}")
    learner = run_policy.restore(run)
    policy = _policy(run, learner, request, total, False)
    reference = policy
    if request.bfloat16:
        # A learner of its own: rounding an ensemble is done in place.
        policy = _policy(run, run_policy.restore(run), request, total, True)
    with files.new_directory(target) as part:
        console.print(f"writing and checking {target}")
        checks = _write(policy, reference, spec, part, request)
        content = {
            **card.describe(policy, spec, _seeds(run, request)),
            "precision": "bfloat16" if request.bfloat16 else "float32",
            "non_finite_observation": request.safe_action or "assertion error",
            "scores": _scores(run, learner, request.method, total, is_own),
            "parity": checks,
            "files": {str(p.relative_to(part)): p.stat().st_size for p in _files(part)},
            "updates": {
                "critic": int(learner.critic_step),
                "behavior": int(learner.behavior_step),
            },
            "versions": directory.versions(),
            "trained_with": spec.get("versions"),
            "config": config.current().splitlines(),
        }
        (part / "model_card.json").write_text(
            json.dumps(content, indent=1, allow_nan=False)
        )
    _report(console, target, policy, content)


def _policy(
    run: Run, learner: IdqlLearner, request: Request, total: int, bfloat16: bool
) -> IdqlPolicy:
    seeds = _seeds(run, request)
    return run_policy.make(
        run,
        learner,
        None if request.ensemble else seeds[0],
        -(-total // len(seeds)),
        request.method,
        bfloat16=bfloat16,
        safe_action=request.safe_action,
        xla=False,
    )


def _write(
    policy: IdqlPolicy,
    reference: IdqlPolicy,
    spec: dict[str, Any],
    folder: pathlib.Path,
    request: Request,
) -> dict[str, parity.Numbers]:
    """Writes the models; returns how far each is from the float32 policy."""
    inputs = parity.observations(
        spec.get("observation_statistics"),
        policy.spaces.observation_size,
        min(256, max(7, _CHECKED_CANDIDATES // policy.num_candidates)),
    )
    saved_model.write(policy, folder)
    checks = {"saved_model": parity.of_saved_model(policy, folder, inputs)}
    if request.bfloat16:
        checks["bfloat16"] = parity.of_precision(reference, policy, inputs)
    for name in ("float32", "float16") if request.tflite else ():
        model = tflite.convert(reference, float16=name == "float16")
        (folder / f"model_{name}.tflite").write_bytes(model)
        checks[f"tflite_{name}"] = parity.of_tflite(reference, model, inputs)
    return checks


def _seeds(run: Run, request: Request) -> list[int]:
    if request.ensemble:
        return [*run.seeds]
    return [run.seeds[0] if request.seed is None else request.seed]


def _scores(
    run: Run, learner: IdqlLearner, method: str, num_candidates: int, is_own: bool
) -> dict[str, Any]:
    """What the card tells of the run's evaluations, which are of its own settings."""
    summary = _summary(run)
    if summary is not None and not is_own:
        summary = summary | {"methods": []}
    point = run.phase, jobs.newest_step(run, learner)
    return card.scores(summary, method, num_candidates, point)


def _summary(run: Run) -> dict[str, Any] | None:
    """Makes summary.json's content anew from the run's evaluations, if any."""
    found = summary.summarize(records.read_run(run.path))
    return found if found["methods"] else None


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _report(
    console: Console, target: pathlib.Path, policy: IdqlPolicy, content: dict[str, Any]
) -> None:
    spaces = policy.spaces
    console.print(
        f"observation {spaces.observation_size} -> action {spaces.action_size}; "
        f"{policy.extraction} of {policy.num_candidates} candidates from seeds "
        f"{', '.join(map(str, content['seeds']))}"
    )
    for name, numbers in content["parity"].items():
        text = f"largest action difference {numbers['largest_action_difference']:.1g}"
        if "lost_gain" in numbers:
            text += f", loses {100 * numbers['lost_gain']:.2g} % of the choice's worth"
            if numbers["lost_gain"] > _NOTICEABLE:
                text += " (warning: that is much)"
        console.print(f"checked {name}: {text}")
    measured = content["scores"]["measured"]
    if measured is None:
        console.print(f"score: {content['scores']['note']}")
    size = sum(content["files"].values()) / 2**20
    console.print(f"exported: {target} ({size:.1f} MiB, see model_card.json)")
