"""The run directory: its files, and the check that a run is continued as begun."""

from __future__ import annotations

import dataclasses
import difflib
import json
import pathlib
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np

import idql_tf
from idql_tf import config, files
from idql_tf.data import DatasetInfo, Transitions, scores
from idql_tf.data.rewards import RewardRule
from idql_tf.errors import UserError

_PACKAGES = ("tensorflow", "keras", "numpy", "gymnasium", "mujoco", "minari")


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run directory records about itself (spec.json).

    Attributes:
      path: the directory.
      info: the dataset's record.
      rule: reward rule, re-applied online.
      seeds: training seeds.
    """

    path: pathlib.Path
    info: DatasetInfo
    rule: RewardRule
    seeds: tuple[int, ...]

    def file(self, name: str) -> pathlib.Path:
        """Path of one of the run's files."""
        return self.path / name


def start(
    path: str, transitions: Transitions, rule: RewardRule, seeds: Sequence[int]
) -> Run:
    """Creates a run directory, or checks that an existing one is this same run.

    Raises:
      UserError: the directory holds something else, or a run with another
        configuration, dataset or seeds. Nothing is written then.
    """
    run = Run(pathlib.Path(path), transitions.info, rule, tuple(seeds))
    if run.path.exists() and not run.path.is_dir():
        raise UserError(f"{path} is a file; expected a directory for the run")
    spec_file = run.file("spec.json")
    if spec_file.exists():
        _check_same(run)
        return run
    if run.path.is_dir() and any(
        p
        for p in run.path.iterdir()
        if not p.name.endswith(".partial") and p.name != "config.gin"
    ):
        raise UserError(
            f"{path} is not empty and not a run (no spec.json); name a new directory"
        )
    run.path.mkdir(parents=True, exist_ok=True)
    files.write_atomically(run.file("config.gin"), config.current())
    # Last, for its presence says that the directory is a run.
    files.write_atomically(spec_file, json.dumps(_spec(run, transitions), indent=1))
    return run


def open_run(path: str) -> Run:
    """Reads a run directory and puts its configuration in force.

    Raises:
      UserError: the directory is not a run, or its files cannot be read.
    """
    folder = pathlib.Path(path)
    spec = _read_spec(folder)
    try:
        text = (folder / "config.gin").read_text()
    except OSError as error:
        raise UserError(f"{folder / 'config.gin'} cannot be read: {error}") from error
    config.load_text(text, str(folder / "config.gin"))
    return Run(
        folder,
        DatasetInfo.from_json(spec["dataset"]),
        RewardRule(**spec["reward_rule"]),
        tuple(spec["seeds"]),
    )


def _read_spec(folder: pathlib.Path) -> dict[str, Any]:
    file = folder / "spec.json"
    if not file.is_file():
        raise UserError(
            f"{folder} is not a run: no spec.json; name a --run_dir of train.py"
        )
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise UserError(
            f"{file} is not valid JSON ({error}); start a new run"
        ) from error


def _spec(run: Run, transitions: Transitions) -> dict[str, Any]:
    returns = transitions.episode_returns()
    counts, edges = np.histogram(returns, bins=30)
    reference = run.info.reference
    score = None
    if reference is not None:
        score = float(np.mean(scores.normalize(returns, reference)))
    return {
        "dataset": run.info.to_json(),
        "reward_rule": dataclasses.asdict(run.rule),
        "seeds": list(run.seeds),
        "observation_size": run.info.observation_size,
        "action_size": run.info.action_size,
        "num_transitions": len(transitions),
        "dataset_score": score,
        "dataset_returns": {"edges": edges.tolist(), "counts": counts.tolist()},
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {"idql_tf": idql_tf.__version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _PACKAGES}


def _check_same(run: Run) -> None:
    spec = _read_spec(run.path)
    old = (run.path / "config.gin").read_text()
    cure = "name a new --run_dir, or repeat the old command to resume"
    changes = [
        line
        for line in difflib.unified_diff(
            old.splitlines(), config.current().splitlines(), n=0, lineterm=""
        )
        if line[:1] in "+-" and line[:3] not in ("---", "+++") and "=" in line
    ]
    if changes:
        raise UserError(
            f"{run.path} is a run with another configuration "
            f"({'; '.join(changes[:4])}); {cure}"
        )
    for name, recorded, asked in (
        ("seeds", tuple(spec["seeds"]), run.seeds),
        ("data (sha256)", spec["dataset"]["sha256"], run.info.sha256),
        ("environment", spec["dataset"]["env_spec"], run.info.env_spec),
    ):
        if recorded != asked:
            raise UserError(
                f"{run.path} is a run with other {name}: {_short(recorded)}, "
                f"asked for {_short(asked)}; {cure}"
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
