"""The picture of a study: curves over a numeric axis, or bars, with intervals."""

from __future__ import annotations

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
_LEGEND = (
    "means over seeds; dots and thin lines: seeds; black lines and bands: 95 % bootstrap "
    "intervals over seeds; dashed: the data"
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
    columns = min(_COLUMNS, len(cells))
    heights = _heights(cells, rows, columns)
    size = 0.8 + 3.9 * max(columns, 2), 0.7 + sum(heights)
    with matplotlib.rc_context(plots.STYLE):
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(
            len(heights), columns, squeeze=False, height_ratios=heights
        ).ravel()
        for axes, (panel, name) in zip(grid, cells, strict=False):
            mine = [
                row
                for row in rows
                if row["panel"] == panel.title and row["dataset"] == name
            ]
            if panel.x:
                _curves(axes, mine, panel.x)
            else:
                _bars(axes, mine)
            _data_line(axes, dataset_scores[name], bool(panel.x))
            axes.set_title(f"{panel.title}: {name}" if panel.title else name)
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
        found.append(max(2.9 if curves else 0.0, 0.95 + 0.3 * max(bars)))
    return found


def _labels(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["label"] for row in rows))


def _curves(axes: Axes, rows: Sequence[Row], x_name: str) -> None:
    """Means over evenly spaced x, a band for the interval, thin lines for seeds."""
    ticks = sorted({row["x"] for row in rows})
    for label, colour in zip(_labels(rows), _colours(), strict=False):
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
    axes.set_xticks(list(shown), [plots.short_count(ticks[k]) for k in shown])
    axes.set_xlabel(x_name)
    axes.set_ylabel(_measure(rows))


def _bars(axes: Axes, rows: Sequence[Row]) -> None:
    """A bar per label, its interval and its seeds' dots."""
    labels = _labels(rows)
    for at, (label, colour) in enumerate(zip(labels, _colours(), strict=False)):
        scores = values(rows, label=label)
        axes.barh(at, scores.mean(), height=0.62, color=colour, alpha=0.75, lw=0)
        bounds = statistics.bootstrap_interval(scores)
        if bounds:
            axes.plot(bounds, [at, at], color=plots.INK, lw=1.4)
        axes.plot(scores, [at] * len(scores), "o", ms=3.5, color=plots.INK, mew=0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(_measure(rows))


def _data_line(axes: Axes, score: float | None, is_curve: bool) -> None:
    if score is not None:
        line = axes.axhline if is_curve else axes.axvline
        line(score, color=plots.GREY, ls="--", lw=1.3, label="the data")
    if is_curve:
        axes.legend(loc="best", handlelength=2.0)


def _colours() -> list[str]:
    return list(plots.RUN_COLOURS) * 2


def _measure(rows: Sequence[Row]) -> str:
    return plots.LABELS[rows[0]["measure"]]
