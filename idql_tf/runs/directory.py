"""The run directory: its files, and the check that a run is continued as begun."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import pathlib
import platform
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

import numpy as np

import idql_tf
from idql_tf import config, files
from idql_tf.data import DatasetInfo, Transitions, scores
from idql_tf.data.rewards import RewardRule
from idql_tf.errors import UserError
from idql_tf.evaluation import specification

_PACKAGES = ("tensorflow", "keras", "numpy", "gymnasium", "mujoco", "minari")


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run directory records about itself (spec.json).

    Attributes:
      path: the directory.
      info: the dataset's record.
      rule: reward rule, re-applied online.
      seeds: training seeds.
      env_id: what --env_id named, if anything.
      finetuned_from: the run whose learner it began with, if any.
      evaluated_from: the run whose learner is evaluated here under other settings,
        where that is all there is.
    """

    path: pathlib.Path
    info: DatasetInfo
    rule: RewardRule
    seeds: tuple[int, ...]
    env_id: str | None = None
    finetuned_from: str | None = None
    evaluated_from: str | None = None

    @property
    def phase(self) -> str:
        """'offline', counted in critic updates, or 'online', in environment steps."""
        return "online" if self.finetuned_from else "offline"

    def file(self, name: str) -> pathlib.Path:
        """Path of one of the run's files."""
        return self.path / name

    def locked(self, to_read: bool = False) -> contextlib.AbstractContextManager[None]:
        """Keeps other programs from writing into the run; see `files.locked`."""
        return files.locked(self.path, to_read)


def check(run: Run) -> None:
    """Checks that a run can start in its directory, or goes on as it began.

    Raises:
      UserError: the directory holds something else, or a run with another
        configuration, dataset or seeds.
    """
    files.check_plain(run.path)
    existing = next(p for p in (run.path, *run.path.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise UserError(f"{existing} is a file; expected a directory for the run")
    if run.file("spec.json").exists():
        _check_same(run)
    elif run.path.is_dir() and not all(map(_is_of_a_beginning, run.path.iterdir())):
        raise UserError(
            f"{run.path} is not empty and not a run (no spec.json); name a new "
            "directory"
        )


def _is_of_a_beginning(path: pathlib.Path) -> bool:
    """Whether a kill may have left it before spec.json was there."""
    if path.name == "config.gin":
        return path.is_file() and files.read_text(path, "replace") == config.current()
    return path.name.endswith(".partial")


@contextlib.contextmanager
def begun(
    run: Run, transitions: Transitions, methods: Sequence[tuple[str, int]]
) -> Iterator[None]:
    """Makes a new run or goes on with an old one, as its only writer.

    Raises:
      UserError: another program is at work on it, or has made another run of it since
        `check`; or the directory cannot be written.
    """
    with _held(run) as is_new:
        if is_new:
            _begin(run, _spec(run, transitions), methods)
        del transitions  # Who is within may have no other copy.
        yield


@contextlib.contextmanager
def evaluated(
    run: Run, source: Run, methods: Sequence[tuple[str, int]]
) -> Iterator[None]:
    """As `begun`, of a directory for another run's evaluations under other settings.

    Raises:
      UserError: as `begun`.
    """
    with _held(run) as is_new:
        if is_new:
            spec = read_spec(source.path) | {"evaluated_from": run.evaluated_from}
            _begin(run, spec, methods)
        yield


@contextlib.contextmanager
def _held(run: Run) -> Iterator[bool]:
    """Locks a run's directory; gives whether there is no run in it yet."""
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{run.path} cannot be written: {error}") from error
    with run.locked():
        check(run)
        yield not run.file("spec.json").exists()


def _begin(run: Run, spec: dict[str, Any], methods: Sequence[tuple[str, int]]) -> None:
    spec |= {"methods": [list(method) for method in methods]}
    try:
        files.write_atomically(run.file("config.gin"), config.current())
        # Last, for its presence says that the directory is a run.
        files.write_atomically(run.file("spec.json"), json.dumps(spec, indent=1))
    except OSError as error:
        raise UserError(f"{run.path} cannot be written: {error}") from error


def read_spec(folder: pathlib.Path) -> dict[str, Any]:
    """Reads spec.json of a run directory.

    Raises:
      UserError: the directory is not a run, or the file is damaged.
    """
    file = folder / "spec.json"
    if not file.is_file():
        raise UserError(
            f"{folder} is not a run: no spec.json; name a --run_dir of train.py"
        )
    return specification.read(file)


def open_run(path: str, gin_files: Sequence[str], params: Sequence[str]) -> Run:
    """Reads a run directory and puts its configuration in force, then additions.

    Raises:
      UserError: the directory is not a run, or its files cannot be read.
    """
    folder = pathlib.Path(path)
    spec = read_spec(folder)
    try:
        text = files.read_text(folder / "config.gin")
        run = Run(
            folder,
            DatasetInfo.from_json(spec["dataset"]),
            RewardRule(**spec["reward_rule"]),
            tuple(int(seed) for seed in spec["seeds"]),
            spec.get("env_id"),
            spec.get("finetuned_from"),
            spec.get("evaluated_from"),
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: config.gin or spec.json is damaged ({error!r}); restore them or "
            "start a new run"
        ) from error
    config.load_text(text, str(folder / "config.gin"), gin_files, params)
    return run


def keeps_settings(run: Run, gin_files: Sequence[str], params: Sequence[str]) -> bool:
    """Whether what `open_run` read besides the run's configuration changes nothing.

    Without additions that holds also of a config.gin that an older version wrote.
    """
    changed = gin_files or params
    return not changed or files.read_text(run.file("config.gin")) == config.current()


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
        "env_id": run.env_id,
        "finetuned_from": run.finetuned_from,
        "observation_size": run.info.observation_size,
        "action_size": run.info.action_size,
        "observation_statistics": transitions.observation_statistics(),
        "num_transitions": len(transitions),
        "dataset_score": score,
        "dataset_returns": {"edges": edges.tolist(), "counts": counts.tolist()},
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions that decide what a run computes."""
    found = {"idql_tf": idql_tf.__version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _PACKAGES}


def _check_same(run: Run) -> None:
    spec = read_spec(run.path)
    cure = "name a new --run_dir, or repeat the old command to resume"
    try:
        old = files.read_text(run.file("config.gin"))
        recorded_data = dict(spec["dataset"])
        recorded_seeds = tuple(spec["seeds"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run.path}: config.gin or spec.json is damaged ({error!r}); restore "
            "them or name a new --run_dir"
        ) from error
    if old != config.current():
        raise UserError(
            f"{run.path} is a run with another configuration "
            f"({_changes(old, config.current())}); {cure}"
        )
    for name, recorded, asked in (
        ("seeds", recorded_seeds, run.seeds),
        ("data (sha256)", recorded_data.get("sha256"), run.info.sha256),
        ("source", spec.get("finetuned_from"), run.finetuned_from),
        ("run evaluated", spec.get("evaluated_from"), run.evaluated_from),
        ("environment", recorded_data.get("env_spec"), run.info.env_spec),
    ):
        if recorded != asked:
            raise UserError(
                f"{run.path} is a run with other {name}: {_short(recorded)}, "
                f"asked for {_short(asked)}; {cure}"
            )


def _changes(old: str, new: str) -> str:
    diff = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    lines = [x for x in diff if x[:1] in "+-" and x[:3] not in ("---", "+++")]
    return "; ".join(lines[:4])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
