"""The picture of a study: curves over a numeric axis, or bars, with intervals."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from idql_tf.evaluation import plots, statistics
from idql_tf.experiments.claims import Row
from idql_tf.experiments.study import Study, values

_COLUMNS = 3
_MOST_TICKS = 8
# In characters: bars with long names leave little room.
_TITLE = textwrap.TextWrapper(34, break_on_hyphens=False, break_long_words=False)
_COLOURS = (*plots.RUN_COLOURS, plots.GREY)
# Inches.
_PER_BAR, _AROUND, _CURVES = 0.3, 0.95, 3.2
_LEGEND = (
    "means over seeds; dots and thin lines: seeds; black lines and bands: 95 % "
    "bootstrap intervals over seeds; dashed: the data"
)


def draw(
    study: Study, rows: Sequence[Row], dataset_scores: Mapping[str, float | None]
) -> Figure:
    """Draws one axes per panel and dataset.

    Args:
      study: its panels and their order.
      rows: of `study.read`.
      dataset_scores: what the data themselves score; drawn dashed.
    """
    panels = list(dict.fromkeys(m.panel for arm in study.arms for m in arm.marks))
    cells = [(panel, name) for panel in panels for name in dataset_scores]
    # A row per panel where there are several datasets (and room), else all abreast.
    across = len(cells) if len(dataset_scores) == 1 else len(dataset_scores)
    columns = min(_COLUMNS, across)
    heights = _heights(cells, rows, columns)
    size = 0.8 + 3.9 * max(columns, 2), 0.7 + sum(heights)
    with matplotlib.rc_context(plots.STYLE):
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(
            len(heights), columns, squeeze=False, height_ratios=heights
        ).ravel()
        for at, (axes, (panel, name)) in enumerate(zip(grid, cells, strict=False)):
            mine = [
                row
                for row in rows
                if row["panel"] == panel.title and row["dataset"] == name
            ]
            if panel.x:
                _curves(axes, mine, panel.x)
            else:
                _bars(axes, mine, (heights[at // columns] - _AROUND) / _PER_BAR)
            _data_line(axes, dataset_scores[name], bool(panel.x))
            title = f"{panel.title}: {name}" if panel.title else name
            axes.set_title(_TITLE.fill(title))
        for axes in grid[len(cells) :]:
            axes.axis("off")
        figure.suptitle(study.title, fontsize=11, x=0.01, ha="left")
        figure.supxlabel(_LEGEND, fontsize=8, color=plots.GREY, x=0.01, ha="left")
    return figure


def _heights(cells: list, rows: Sequence[Row], columns: int) -> list[float]:
    """Of each row of the grid: bars need room for their names."""
    found = []
    for start in range(0, len(cells), columns):
        titles = {panel.title for panel, _ in cells[start : start + columns]}
        bars = [len(_labels(r for r in rows if r["panel"] == t)) for t in titles]
        curves = any(panel.x for panel, _ in cells[start : start + columns])
        found.append(max(_CURVES if curves else 0.0, _AROUND + _PER_BAR * max(bars)))
    return found


def _labels(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["label"] for row in rows))


def _curves(axes: Axes, rows: Sequence[Row], x_name: str) -> None:
    """Means over evenly spaced x, a band for the interval, thin lines for seeds."""
    ticks = sorted({row["x"] for row in rows})
    for label, colour in zip(_labels(rows), itertools.cycle(_COLOURS), strict=False):
        places = sorted({row["x"] for row in rows if row["label"] == label})
        at = [ticks.index(x) for x in places]
        scores = np.stack([values(rows, label=label, x=x) for x in places])
        axes.plot(at, scores.mean(1), "o-", ms=4, color=colour, label=label)
        if scores.shape[1] > 1:
            axes.plot(at, scores, color=colour, lw=0.7, alpha=0.5)
        bounds = [statistics.bootstrap_interval(row) for row in scores]
        if None not in bounds:
            lower, upper = np.array(bounds, dtype=float).T
            axes.fill_between(at, lower, upper, color=colour, alpha=0.13, lw=0)
    shown = range(0, len(ticks), -(-len(ticks) // _MOST_TICKS))
    axes.set_xticks(list(shown), [_tick(ticks[k]) for k in shown])
    axes.set_xlabel(x_name)
    axes.set_ylabel(_measure(rows))


def _bars(axes: Axes, rows: Sequence[Row], room: float) -> None:
    """A bar per label, its interval and its seeds' dots; a colour per kind.

    `room` is the number of bars that fit.
    """
    labels = _labels(rows)
    kinds = list(dict.fromkeys(map(_kind, labels)))
    for at, label in enumerate(labels):
        scores = values(rows, label=label)
        colour = _COLOURS[kinds.index(_kind(label)) % len(_COLOURS)]
        axes.barh(at, scores.mean(), height=0.62, color=colour, alpha=0.75, lw=0)
        bounds = statistics.bootstrap_interval(scores)
        if bounds:
            axes.plot(bounds, [at, at], color=plots.INK, lw=1.4)
        axes.plot(scores, [at] * len(scores), "o", ms=3.5, color=plots.INK, mew=0)
    axes.set_yticks(range(len(labels)), labels)
    margin = 0.6 + max(0.0, room - len(labels)) / 2
    axes.set_ylim(len(labels) - 1 + margin, -margin)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(_measure(rows))


def _data_line(axes: Axes, score: float | None, is_curve: bool) -> None:
    if score is not None:
        line = axes.axhline if is_curve else axes.axvline
        line(score, color=plots.GREY, ls="--", lw=1.3, label="the data")
    if is_curve:
        # Below, where no curve can be.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=4)


def _tick(x: float) -> str:
    """1024 stays as it is, 2500 becomes 2.5k."""
    return f"{x:g}" if x % 100 else plots.short_count(x)


def _kind(label: str) -> str:
    """What bars of one colour share: 'IQL, best of N' is of the kind IQL."""
    return label.partition(",")[0]


def _measure(rows: Sequence[Row]) -> str:
    return plots.LABELS[rows[0]["measure"]]
