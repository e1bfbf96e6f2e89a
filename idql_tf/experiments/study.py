"""A study: runs that differ in one thing, what of them is shown, and what is claimed.

What every study shares. `ablations` and `tables` say which studies there are,
`runs/studies.py` trains them.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gin
import numpy as np

from idql_tf import tasks
from idql_tf.errors import UserError, check_count, check_seeds
from idql_tf.evaluation import plots, records, statistics, summary
from idql_tf.evaluation.records import Method
from idql_tf.experiments.claims import Claim, Row

# The authors: scores of the same settings differ by 5 to 10 between seeds.
_BAND = 10.0


class Panel(NamedTuple):
    """Axes of the picture: its title, and what runs along x ('' for bars)."""

    title: str
    x: str = ""


@dataclasses.dataclass(frozen=True)
class Mark:
    """A curve's point, or a bar: one way of acting with the networks of an arm.

    Attributes:
      panel: where it is drawn.
      label: the curve's or the bar's name.
      x: where on the axis; None for a bar.
      extraction: how actions are chosen.
      num_candidates: N; None is gin's NUM_CANDIDATES.
      every: every evaluation of the run is a point, at its step, not only the last.
    """

    panel: Panel
    label: str
    x: float | None = None
    extraction: str = "argmax"
    num_candidates: int | None = None
    every: bool = False

    @property
    def method(self) -> tuple[str, int | None]:
        """As `evaluate.methods` has it, but for None."""
        return self.extraction, self.num_candidates


@dataclasses.dataclass(frozen=True)
class Arm:
    """A run that every task of a study has.

    Attributes:
      name: of its directory, after the task's.
      marks: what is shown of it.
      gin_files: read after the task's and the user's.
      gin_params: the same.
      mode: 'max' or 'imp' finetunes the run of the study's first arm; '' trains.
    """

    name: str
    marks: tuple[Mark, ...]
    gin_files: tuple[str, ...] = ()
    gin_params: tuple[str, ...] = ()
    mode: str = ""

    @property
    def methods(self) -> list[tuple[str, int | None]]:
        """What it is evaluated with; marks may share one."""
        return list(dict.fromkeys(mark.method for mark in self.marks))

    @property
    def bindings(self) -> list[str]:
        """Its gin parameters, the methods among them where it has marks."""
        if not self.marks:
            return [*self.gin_params]
        shown = ", ".join(
            f"('{rule}', {n or '%NUM_CANDIDATES'})" for rule, n in self.methods
        )
        return [*self.gin_params, f"evaluate.methods = ({shown},)"]


class Order(NamedTuple):
    """A claim: the scores at these places fall from the first to the last.

    Attributes:
      text: what is claimed.
      places: (panel title, label, x); the x of None is a bar's, or a curve's last.
      or_equal: equal scores are so too.
    """

    text: str
    places: tuple[tuple[str, str, float | None], ...]
    or_equal: bool = False


class Study(NamedTuple):
    """What is trained, drawn and claimed."""

    title: str
    arms: tuple[Arm, ...]
    orders: tuple[Order, ...]


@gin.configurable("study")
@dataclasses.dataclass(frozen=True)
class Settings:
    """What studies run on; NAME/study.on binds it for one of them.

    Attributes:
      tasks: {name: {'dataset': ..., and maybe 'env_id', 'gin_files', 'gin_params',
        'expected'}}; a dataset 'collect:ENV:STEPS' is collected in that maze, and
        'expected' has the paper's scores by label.
      on: names of those that the study runs on.
      seeds: of every run, trained in one program.
      num_env_steps: of finetuning, of each seed.
    """

    tasks: Mapping[str, Mapping[str, Any]]
    on: Sequence[str]
    seeds: Sequence[int]
    num_env_steps: int

    def __post_init__(self) -> None:
        keys = tasks.KEYS | {"expected"}
        tasks.check("study.tasks", self.tasks, "gin/studies/cpu.gin", keys)
        if not self.on or set(self.on) - set(self.tasks):
            raise UserError(
                f"study.on is {tuple(self.on)}; expected some of study.tasks, "
                f"{sorted(self.tasks)}; bind NAME/study.on"
            )
        check_seeds("study.seeds", self.seeds)
        check_count("study.num_env_steps", self.num_env_steps)


def read(study: Study, task: str, paths: Mapping[str, pathlib.Path]) -> list[Row]:
    """The table of one task's finished runs: a row per mark, seed and evaluation.

    Args:
      study: what was run.
      task: its name.
      paths: run directories by arm.
    """
    rows: list[Row] = []
    for arm in study.arms:
        run = records.read_run(paths[arm.name])
        column, _ = plots.measured(run)
        # In the order of `bindings`; the numbers that gin's NUM_CANDIDATES was.
        methods = dict(zip(arm.methods, run.spec["methods"], strict=False))
        for mark in arm.marks:
            method = Method(*methods[mark.method])
            curve = records.curve(run, method, column)
            last = len(curve.points) - 1
            for at in range(last + 1) if mark.every else [last]:
                step = curve.points[at][1]
                for member, seed in enumerate(curve.seeds):
                    rows.append(
                        {
                            "panel": mark.panel.title,
                            "dataset": task,
                            "label": mark.label,
                            "x": step if mark.every else mark.x,
                            "run": run.name,
                            "extraction": method.extraction,
                            "num_candidates": method.num_candidates,
                            "step": step,
                            "seed": seed,
                            "episodes": int(curve.episodes[member, at]),
                            "measure": column,
                            "value": float(curve.values[member, at]),
                        }
                    )
    return rows


def values(rows: Sequence[Row], **wanted: Any) -> np.ndarray:
    """The scores of the rows that have these entries, a mean per seed, [S]."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if wanted.items() <= row.items():
            found.setdefault(row["seed"], []).append(row["value"])
    return np.array([np.mean(found[seed]) for seed in sorted(found)])


def claims(study: Study, rows: Sequence[Row], settings: Settings) -> list[Claim]:
    """Whether the scores, as means over seeds and datasets, are in the claimed order.

    Where there are seeds enough, it says whether neighbours' intervals overlap. The
    paper's scores, where the settings have them, are claims too. Returns do not mix
    with scores: where some datasets have scores, only those count.
    """
    scored = [row for row in rows if row["measure"] == "normalized_score"]
    rows = scored or rows
    found = [_ordered(order, rows) for order in study.orders]
    for task in settings.on:
        for label, score in settings.tasks[task].get("expected", {}).items():
            mine = values(rows, dataset=task, label=label)
            if mine.size:
                text = f"{task}: {label} scores the paper's {score:g}, within {_BAND:g}"
                near = bool(abs(mine.mean() - score) <= _BAND)
                found.append(Claim(text, _told(mine), near))
    return found


def _ordered(order: Order, rows: Sequence[Row]) -> Claim:
    scores = [_at(rows, *place) for place in order.places]
    names = [_place_name(place, order.places) for place in order.places]
    told = [f"{n} {_told(s)}" for n, s in zip(names, scores, strict=True)]
    found = [statistics.bootstrap_interval(s) for s in scores]
    bounds = [bound for bound in found if bound]
    if len(bounds) < len(found):
        basis = f"intervals need {statistics.MIN_SEEDS_FOR_INTERVAL} seeds"
    else:
        neighbours = zip(bounds, bounds[1:], strict=False)
        apart = all(a[0] > b[1] or b[0] > a[1] for a, b in neighbours)
        basis = "intervals apart" if apart else "intervals overlap"
    alone = _alone(order, rows)
    return Claim(order.text, f"{'; '.join(told)}; {basis}{alone}", _falls(order, rows))


def _falls(order: Order, rows: Sequence[Row]) -> bool:
    means = [_at(rows, *place).mean() for place in order.places]
    in_order = operator.ge if order.or_equal else operator.gt
    return all(in_order(a, b) for a, b in itertools.pairwise(means))


def _alone(order: Order, rows: Sequence[Row]) -> str:
    """On which of several datasets it is so; a mean over them may hide one."""
    names = list(dict.fromkeys(row["dataset"] for row in rows))
    if len(names) == 1:
        return ""
    so = [n for n in names if _falls(order, [r for r in rows if r["dataset"] == n])]
    named = f": {', '.join(so)}" if 0 < len(so) < len(names) else ""
    return f"; so on {len(so)} of {len(names)} datasets taken alone{named}"


def _at(rows: Sequence[Row], panel: str, label: str, x: float | None) -> np.ndarray:
    here = {"panel": panel, "label": label}
    along = [row["x"] for row in rows if here.items() <= row.items()]
    if x is None and None not in along:
        x = max(along)
    return values(rows, **here, x=x)


def _place_name(place: tuple, places: Sequence[tuple]) -> str:
    """What tells a place from the others: its label, its x, or both."""
    _, label, x = place
    if x is None:
        mixed = any(other is not None for _, _, other in places)
        return f"{label} at the end" if mixed else label
    same = all(other == label for _, other, _ in places)
    return f"at {x:g}" if same else f"{label} at {x:g}"


def _told(scores: np.ndarray) -> str:
    bounds = statistics.bootstrap_interval(scores)
    mean = summary.number(float(scores.mean()))
    return mean if bounds is None else f"{mean} {summary.interval(bounds)}"


def table(rows: Sequence[Row]) -> str:
    """The scores as text: a line per dataset, panel, label and x."""
    lines: list[tuple[str, ...]] = [
        ("dataset", "panel", "label", "x", "mean", "95 % interval")
    ]
    columns = ("dataset", "panel", "label", "x")
    for key in dict.fromkeys(tuple(row[c] for c in columns) for row in rows):
        mine = values(rows, **dict(zip(columns, key, strict=True)))
        x = "" if key[3] is None else f"{key[3]:g}"
        mean = summary.number(float(mine.mean()))
        bounds = summary.interval(statistics.bootstrap_interval(mine))
        lines.append((*key[:3], x, mean, bounds))
    return "\n".join(summary.align(lines))
