"""Figures of a report, each as one self-contained SVG text.

Colours are Okabe and Ito's, which stay apart for colour-blind readers.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from idql_tf.evaluation import names, records, statistics
from idql_tf.evaluation.records import Method, RunFiles
from idql_tf.evaluation.summary import headline_methods, nanmean

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#8A8F98"
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
RUN_COLOURS = (BLUE, VERMILLION, *OTHERS)
INK, GRID = "#1F2933", "#E4E7EB"
_MOST_POINTS = 300
STYLE = {
    "axes.edgecolor": "#9AA5B1",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.axisbelow": True,
    "figure.constrained_layout.h_pad": 0.07,
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 8.5,
    "legend.handlelength": 3.2,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "idql_tf",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": INK,
    "ytick.labelsize": 8.5,
}


def colours(run: RunFiles) -> dict[Method, str]:
    """One colour per method: blue IDQL, vermillion cloning, then the others."""
    idql, single = headline_methods(run)
    rest = [method for method in records.methods(run) if method not in (idql, single)]
    found = {m: OTHERS[k % len(OTHERS)] for k, m in enumerate(rest)}
    return found | {m: c for m, c in ((idql, BLUE), (single, VERMILLION)) if m}


def headline(run: RunFiles, summary: dict[str, Any]) -> str | None:
    """Final score per method: dots per seed, mean, interval, the data's score."""
    entries = summary["methods"]
    if not entries:
        return None
    measure, label = measured(run)
    key = "score" if measure == "normalized_score" else "return"
    palette = colours(run)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 0.75 + 0.48 * len(entries)), layout="constrained")
        axes = figure.add_subplot()
        for row, entry in enumerate(entries):
            colour = palette[Method(entry["extraction"], entry["num_candidates"])]
            found = entry[key]
            if found["mean"] is None:
                continue
            if found["interval"]:
                axes.plot(found["interval"], [row, row], color=colour, lw=7, alpha=0.25)
            axes.plot([found["mean"]] * 2, [row - 0.26, row + 0.26], color=colour, lw=3)
            seeds = list(found["per_seed"].values())
            axes.plot(seeds, [row] * len(seeds), "o", color=colour, ms=5, mec="white")
        if key == "score" and summary["dataset_score"] is not None:
            axes.axvline(summary["dataset_score"], color=GREY, ls="--", lw=1.5)
        axes.set_yticks(range(len(entries)), [entry["label"] for entry in entries])
        axes.set_ylim(len(entries) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(label)
        return to_svg(figure)


def learning_curves(run: RunFiles, dataset_score: float | None = None) -> str | None:
    """Score against critic updates: mean, interval band, one thin line per seed."""
    methods = records.methods(run)
    if not methods:
        return None
    column, label = measured(run)
    palette = colours(run)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 3.7), layout="constrained")
        axes = figure.add_subplot()
        for method in reversed(methods):
            _curve(axes, run, method, column, palette[method], names.label(run, method))
        if column == "normalized_score" and dataset_score is not None:
            axes.axhline(dataset_score, color=GREY, ls="--", lw=1.5, label="The data")
        axes.set_ylabel(label)
        _updates_axis(axes, _steps_name([run]))
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4)
        return to_svg(figure)


def comparison(runs: Sequence[RunFiles]) -> str | None:
    """Learning curves of several runs: IDQL solid, one candidate dashed."""
    runs = [run for run in runs if records.methods(run)]
    if not runs:
        return None
    column = measured(runs[0])[0]
    if any(measured(run)[0] != column for run in runs):
        column = "return"
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 3.9), layout="constrained")
        axes = figure.add_subplot()
        for index, run in enumerate(runs):
            colour = RUN_COLOURS[index % len(RUN_COLOURS)]
            idql, single = headline_methods(run)
            for method, style in ((idql, "-"), (single, "--")):
                if method:
                    name = run.name.replace("$", r"\$")  # Else the start of a formula.
                    label = f"{name}, N = {method.num_candidates}"
                    _curve(axes, run, method, column, colour, label, style, thin=False)
        axes.set_ylabel(LABELS[column])
        _updates_axis(axes, _steps_name(runs))
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2)
        return to_svg(figure)


LABELS = {
    "normalized_score": "normalised score (0–100)",
    "return": "return per episode",
}


def measured(run: RunFiles) -> tuple[str, str]:
    """The column a run is judged by and its axis label."""
    known = np.isfinite(run.evaluations["normalized_score"]).any()
    column = "normalized_score" if known else "return"
    return column, LABELS[column]


_PANELS = (
    ("critic/q_mean", None, "Q, mean over batch", "discounted return"),
    ("critic/v_loss", "validation/v_loss", "Value loss", "loss"),
    ("critic/q_loss", "validation/q_loss", "Q loss", "loss"),
    ("behavior/loss", "validation/behavior_loss", "Behaviour model loss", "loss"),
)


def training_metrics(run: RunFiles) -> str | None:
    """Small multiples of what training logged, validation laid over it."""
    logged = set(run.metrics["name"].tolist())
    panels = [panel for panel in _PANELS if panel[0] in logged]
    if not panels:
        return None
    rows = (len(panels) + 1) // 2
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 2.5 * rows), layout="constrained")
        for index, (train, held_out, title, unit) in enumerate(panels):
            axes = figure.add_subplot(rows, 2, index + 1)
            _metric(axes, run, train, BLUE, "training", thin=True)
            if held_out and held_out in logged:
                _metric(axes, run, held_out, VERMILLION, "held-out data", thin=False)
                axes.legend(loc="best")
            axes.set_title(title)
            axes.set_ylabel(unit)
            kind = "critic" if train.startswith("critic") else "behaviour model"
            online = records.is_online(run)
            _updates_axis(axes, _steps_name([run]) if online else f"{kind} updates")
        return to_svg(figure)


def return_distributions(run: RunFiles) -> str | None:
    """Histograms over one x axis: the data, one candidate, IDQL."""
    shown = [method for method in reversed(headline_methods(run)) if method]
    if not shown:
        return None
    palette = colours(run)
    returns = {m: records.final_episodes(run, m)["return"] for m in shown}
    returns = {m: r[np.isfinite(r)] for m, r in returns.items()}
    shown = [m for m in shown if returns[m].size]
    if not shown:
        return None
    data = run.spec.get("dataset_returns")
    edges = _shared_edges(list(returns.values()), data["edges"] if data else [])
    panels = [
        (names.label(run, m), _shares(returns[m], edges), palette[m]) for m in shown
    ]
    means: list[float | None] = [float(returns[m].mean()) for m in shown]
    if data:
        panels.insert(
            0, ("The data", rebin(data["edges"], data["counts"], edges), GREY)
        )
        means.insert(0, None)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 1.15 * len(panels) + 0.5), layout="constrained")
        all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (label, shares, colour), mean in zip(
            all_axes, panels, means, strict=True
        ):
            axes.stairs(100 * shares, edges, fill=True, color=colour, alpha=0.75)
            if mean is not None:
                axes.axvline(mean, color=INK, lw=1.2)
                label += f": mean {mean:,.4g}"
            axes.set_title(label, fontsize=9, pad=4)
            axes.yaxis.set_major_locator(MaxNLocator(3))
        figure.supylabel("episodes (%)", fontsize=9)
        all_axes[-1].set_xlabel("return per episode")
        return to_svg(figure)


def rebin(
    edges: Sequence[float], counts: Sequence[float], new_edges: np.ndarray
) -> np.ndarray:
    """Share of counts in new bins, spread evenly inside each old bin: [K]."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts, dtype=float)])
    shares = np.diff(np.interp(new_edges, edges, cumulative))
    return shares / max(cumulative[-1], 1.0)


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(values, edges)[0] / max(values.size, 1)


def _shared_edges(samples: Sequence[np.ndarray], others: Sequence[float]) -> np.ndarray:
    everything = np.concatenate([*samples, np.asarray(others, dtype=float)])
    low, high = float(everything.min()), float(everything.max())
    margin = 0.5 if low == high else 1e-6 * (high - low)
    return np.linspace(low - margin, high + margin, 41)


def _curve(
    axes: Axes,
    run: RunFiles,
    method: Method,
    column: str,
    colour: str,
    label: str,
    style: str = "-",
    thin: bool = True,
) -> None:
    found = records.curve(run, method, column)
    shown = _thinned(len(found.points))
    steps, values = found.updates()[shown], found.values[:, shown]
    mark = "o" if len(steps) <= 30 else None
    axes.plot(
        steps, nanmean(values), style, color=colour, label=label, marker=mark, ms=4
    )
    if not thin:
        return
    if len(found.seeds) > 1:
        for row in values:
            axes.plot(steps, row, color=colour, lw=0.7, alpha=0.55)
    full = np.isfinite(values).all(axis=0)
    if len(found.seeds) >= statistics.MIN_SEEDS_FOR_INTERVAL and full.any():
        bounds = [statistics.bootstrap_interval(v) for v in values[:, full].T]
        lower, upper = np.array(bounds, dtype=float).T
        axes.fill_between(steps[full], lower, upper, color=colour, alpha=0.13, lw=0)


def _metric(
    axes: Axes, run: RunFiles, name: str, colour: str, label: str, thin: bool
) -> None:
    """Mean over seeds of a logged value."""
    table = run.metrics
    keep = (table["name"] == name) & np.isfinite(table["value"])
    steps = np.unique(table["step"][keep])
    seeds = np.unique(table["seed"][keep])
    values = np.full((seeds.size, steps.size), np.nan)
    rows = np.searchsorted(seeds, table["seed"][keep])
    values[rows, np.searchsorted(steps, table["step"][keep])] = table["value"][keep]
    shown = _thinned(steps.size)
    steps, values = steps[shown], values[:, shown]
    if thin and seeds.size > 1:
        for row in values:
            axes.plot(steps, row, color=colour, lw=0.6, alpha=0.5)
    axes.plot(steps, nanmean(values), color=colour, lw=1.6, label=label)


def _thinned(count: int) -> np.ndarray:
    """Which of so many points are drawn: what the eye can see, with both ends."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).astype(int))


def _steps_name(runs: Sequence[RunFiles]) -> str:
    """What evaluations are counted in: offline updates or online steps."""
    kinds = {records.is_online(run) for run in runs}
    names = {False: "critic updates", True: "environment steps online"}
    return " or ".join(names[kind] for kind in sorted(kinds))


def _updates_axis(axes: Axes, name: str) -> None:
    axes.set_xlabel(name)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short_count(x)))
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))


def short_count(value: float) -> str:
    """250000 -> `250k`, 1500000 -> `1.5M`."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e3 else f"{value:g}"


def to_svg(figure: Figure) -> str:
    """Renders a figure as SVG text, glyphs drawn so that no font is needed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
