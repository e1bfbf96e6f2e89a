"""Reads what a run has written: its specification, episodes and metrics.

A run may have been killed while it wrote a line, or be evaluated half way, so
every reader takes what is whole and notes what is not.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from idql_tf import files
from idql_tf.columns import EVALUATION_COLUMNS, METRIC_COLUMNS
from idql_tf.errors import UserError
from idql_tf.evaluation import specification

PHASES = ("offline", "online")


def _number(text: str) -> float:
    value = float(text) if text.strip() else math.nan
    if math.isfinite(value) and abs(value) > specification.LARGEST_NUMBER:
        raise ValueError(f"{value} is too large")
    return value


def _word(text: str) -> str:
    if not re.fullmatch(r"[\w/.-]+", text):
        raise ValueError(f"{text!r} is not a name")
    return text


def _count(text: str) -> int:
    value = specification.integer(text)
    if value < 0:
        raise ValueError(f"{value} is negative")
    return value


def _rate(text: str) -> float:
    value = _number(text)
    return value if 0 <= value <= 1 else math.nan


_PARSERS: dict[str, Callable[[str], Any]] = {
    "phase": PHASES.index,
    "step": _count,
    "seed": _count,
    "extraction": _word,
    "num_candidates": _count,
    "episode": _count,
    "success": _rate,
    "name": _word,
}

Table = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, order=True)
class Method:
    """How actions were taken: the choice rule among `num_candidates` samples."""

    extraction: str
    num_candidates: int


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """Everything a report is made from.

    Attributes:
      path: the run directory.
      spec: contents of spec.json.
      evaluations: columns of evaluations.csv, one entry per episode; `phase`
        is an index into `PHASES`.
      metrics: columns of metrics.csv, one entry per logged value.
      config: text of config.gin, empty where there is none.
      notes: sentences about what was missing or unreadable.
    """

    path: pathlib.Path
    spec: dict[str, Any]
    evaluations: Table
    metrics: Table
    config: str
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Last part of the run directory's path."""
        return self.path.resolve().name


@dataclasses.dataclass(frozen=True)
class Curve:
    """One number per seed and evaluation of one method.

    Attributes:
      points: (phase index, step) of each evaluation, in order, length K.
      seeds: length S.
      values: mean over the evaluation's episodes, float64 [S, K], NaN where
        a seed has none.
      episodes: number of episodes behind each value, int [S, K].
    """

    points: tuple[tuple[int, int], ...]
    seeds: tuple[int, ...]
    values: np.ndarray
    episodes: np.ndarray

    def complete(self) -> np.ndarray:
        """Evaluations in which all seeds have equally many episodes, bool [K]."""
        return (self.episodes == self.episodes.max(axis=0)).all(axis=0)

    def updates(self) -> np.ndarray:
        """Critic updates at each evaluation, int [K].

        Online steps that start again at 0 continue where offline ones ended.
        """
        phases = np.array([phase for phase, _ in self.points])
        steps = np.array([step for _, step in self.points])
        offline, online = steps[phases == 0], steps[phases == 1]
        if offline.size and online.size and online.min() < offline.max():
            steps = steps + (phases == 1) * offline.max()
        return steps


def is_online(run: RunFiles) -> bool:
    """Whether a run is a finetuned one, counted in environment steps."""
    return bool(run.spec.get("finetuned_from"))


def read_run(run_dir: str | pathlib.Path) -> RunFiles:
    """Reads a run directory (contract C3).

    Raises:
      UserError: it is not a run directory, or one of its files is not what
        its name says.
    """
    path = pathlib.Path(run_dir)
    if not (path / "spec.json").is_file():
        found = "has no spec.json" if path.is_dir() else "does not exist"
        raise UserError(
            f"'{run_dir}' is not a run directory: it {found}; "
            "give the --run_dir of launch/train.py"
        )
    spec = specification.read(path / "spec.json")
    notes: list[str] = []
    evaluations = _read_table(path / "evaluations.csv", EVALUATION_COLUMNS, notes)
    metrics = _read_table(path / "metrics.csv", METRIC_COLUMNS, notes)
    config = ""
    try:
        if (path / "config.gin").exists():
            config = files.read_text(path / "config.gin")
    except (OSError, UnicodeDecodeError):
        notes.append("config.gin cannot be read as text.")
    evaluations = _last_of_each_episode(evaluations)
    if unknown := int((~np.isfinite(evaluations["return"])).sum()):
        notes.append(
            f"evaluations.csv: {unknown:,} episode(s) without a finite return, which "
            "count for nothing."
        )
    return RunFiles(
        path=path,
        spec=spec,
        evaluations=evaluations,
        metrics=metrics,
        config=config,
        notes=tuple(notes),
    )


def methods(run: RunFiles) -> list[Method]:
    """Methods evaluated: argmax first, then by number of candidates."""
    pairs = set(
        zip(
            run.evaluations["extraction"],
            run.evaluations["num_candidates"],
            strict=True,
        )
    )
    found = [Method(str(rule), int(number)) for rule, number in pairs]
    return sorted(found, key=lambda m: (m.extraction != "argmax", m))


def select(run: RunFiles, method: Method) -> Table:
    """The episodes of one method."""
    table = run.evaluations
    keep = (table["extraction"] == method.extraction) & (
        table["num_candidates"] == method.num_candidates
    )
    return {name: column[keep] for name, column in table.items()}


def curve(run: RunFiles, method: Method, column: str) -> Curve:
    """Mean of a column over the episodes of each evaluation, per seed."""
    table = select(run, method)
    keys = list(zip(table["phase"].tolist(), table["step"].tolist(), strict=True))
    points, seeds = sorted(set(keys)), sorted(set(table["seed"].tolist()))
    which_point = {point: index for index, point in enumerate(points)}
    rows = np.searchsorted(seeds, table["seed"])
    cells = (rows, np.array([which_point[key] for key in keys], dtype=int))
    episodes = np.zeros((len(seeds), len(points)), dtype=int)
    np.add.at(episodes, cells, 1)
    known = np.isfinite(table[column])
    sums, counts = np.zeros(episodes.shape), np.zeros(episodes.shape)
    np.add.at(sums, cells, np.where(known, table[column], 0.0))
    np.add.at(counts, cells, known)
    values = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return Curve(tuple(points), tuple(seeds), values, episodes)


def final_point(run: RunFiles, method: Method) -> tuple[int, int]:
    """(phase index, step) of the last evaluation that every seed finished."""
    episodes = curve(run, method, "return")
    complete = np.flatnonzero(episodes.complete())
    return episodes.points[int(complete[-1]) if complete.size else -1]


def final_episodes(run: RunFiles, method: Method) -> Table:
    """The episodes of one method's last complete evaluation."""
    phase, step = final_point(run, method)
    table = select(run, method)
    keep = (table["phase"] == phase) & (table["step"] == step)
    return {name: column[keep] for name, column in table.items()}


def _read_table(
    path: pathlib.Path, columns: Sequence[str], notes: list[str]
) -> dict[str, np.ndarray]:
    """Reads whole lines of a CSV; what cannot be read is counted in `notes`."""
    rows: list[list[Any]] = []
    try:
        text = files.read_text(path) if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read as text ({error}); restore it, or remove it for a "
            "report without it"
        ) from error
    lines = text.split("\n")
    broken = 1 if lines.pop() else 0
    if lines and tuple(lines[0].strip().split(",")) != tuple(columns):
        raise UserError(
            f"{path}: found the header '{lines[0].strip():.80}', expected "
            f"'{','.join(columns)}', as launch/train.py writes; restore the file, or "
            "move it away to go on without its rows"
        )
    parsers = [_PARSERS.get(name, _number) for name in columns]
    for line in filter(None, map(str.strip, lines[1:])):
        fields = line.split(",")  # What train.py writes needs no quotes.
        try:
            rows.append([p(field) for p, field in zip(parsers, fields, strict=True)])
        except ValueError:
            broken += 1
    if broken:
        notes.append(
            f"{path.name}: {broken} incomplete line(s) skipped, as a killed "
            "process leaves behind."
        )
    if not rows:
        notes.append(f"{path.name}: nothing in it yet.")
    table = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return {
        name: np.array(column, dtype=_dtype(name))
        for name, column in zip(columns, table, strict=True)
    }


def _dtype(column: str) -> type:
    kind = _PARSERS.get(column, _number)
    if kind is _word:
        return np.str_
    return float if kind in (_number, _rate) else int


def _last_of_each_episode(table: Table) -> Table:
    """Drops repeats: a run resumed from a checkpoint evaluates a step again."""
    names = ("phase", "step", "seed", "extraction", "num_candidates", "episode")
    keys = zip(*(table[name].tolist() for name in names), strict=True)
    last = {key: index for index, key in enumerate(keys)}
    keep = np.array(sorted(last.values()), dtype=int)
    return {name: column[keep] for name, column in table.items()}
