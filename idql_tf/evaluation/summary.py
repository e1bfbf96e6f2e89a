"""Summarises a run's evaluations: summary.json and the console table."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from idql_tf import files
from idql_tf.evaluation import names, records, statistics
from idql_tf.evaluation.records import Curve, Method, RunFiles

LAST_K = 3
NO_INTERVAL = f"- (needs {statistics.MIN_SEEDS_FOR_INTERVAL} seeds)"
_COLUMNS = {
    "score": "normalized_score",
    "return": "return",
    "success": "success",
    "length": "length",
}


def write(run_dir: str | pathlib.Path) -> dict[str, Any]:
    """Writes `summary.json` into a run directory and returns its contents.

    Raises:
      UserError: `run_dir` is not a run directory.
    """
    summary = summarize(records.read_run(run_dir))
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    files.write_atomically(pathlib.Path(run_dir) / "summary.json", text)
    return summary


def summarize(run: RunFiles) -> dict[str, Any]:
    """Turns a run's evaluations into JSON-able numbers.

    Each method has `score`, `return`, `success` and `length`, each with the
    last evaluation's mean over episodes per seed and, over seeds, mean,
    interquartile mean and 95 % bootstrap interval. Unknown numbers are None.
    The headline methods come first.
    """
    info = run.spec.get("dataset") or {}
    reference = info.get("reference")
    methods = records.methods(run)
    lead = [method for method in headline_methods(run) if method]
    methods = lead + [method for method in methods if method not in lead]
    entries = [_method_summary(run, method) for method in methods]
    return {
        "run": run.name,
        "dataset": info.get("dataset"),
        "reference": reference,
        "reference_note": reference_note(reference),
        "dataset_score": _finite(run.spec.get("dataset_score")),
        "seeds": run.spec.get("seeds")
        or sorted({s for e in entries for s in e["seeds"]}),
        "methods": entries,
        "headline": _headline(run, entries),
        "notes": list(run.notes) + _incomplete(run),
    }


def reference_note(reference: dict[str, Any] | None) -> str:
    """Says in one sentence what the normalised scores mean."""
    if not reference:
        return "No reference scores are known for this task: returns are reported."
    return (
        f"Score 0 is a return of {reference['minimum']:g}, score 100 a return of "
        f"{reference['maximum']:g}; source: {reference['source']}."
    )


def headline_methods(run: RunFiles) -> tuple[Method | None, Method | None]:
    """Argmax with the most candidates, and one candidate, where evaluated.

    Both are named by the methods the run was configured with, so that no
    evaluation added later changes which result is reported; a run that records
    no such methods is judged by those evaluated.
    """
    evaluated = records.methods(run)
    configured = run.spec.get("methods") or []
    named = [Method(rule, count) for rule, count in configured] or evaluated
    chosen = [m for m in named if m.extraction == "argmax" and m.num_candidates > 1]
    idql = max(chosen, key=lambda m: m.num_candidates, default=None)
    single = next((m for m in named if m.num_candidates == 1), None)
    first, second = (m if m in evaluated else None for m in (idql, single))
    return first, second


def primary(entry: dict[str, Any]) -> str:
    """The number a method is judged by: its score, else its return."""
    return "score" if entry["score"]["mean"] is not None else "return"


def format_table(summary: dict[str, Any]) -> str:
    """Lays the summary out as a plain-text table for the console."""
    if not summary["methods"]:
        return f"{summary['run']}: no evaluation has been written yet."
    rows = [
        ("method", "score", "IQM", "95 % interval", "return", "success", "per seed")
    ]
    for entry in summary["methods"]:
        main = entry[primary(entry)]
        rows.append(
            (
                entry["label"],
                number(entry["score"]["mean"]),
                number(main["iqm"]),
                interval(main["interval"]),
                number(entry["return"]["mean"]),
                percent(entry["success"]["mean"]),
                " ".join(number(value) for value in main["per_seed"].values()),
            )
        )
    if summary["dataset_score"] is not None:
        score = number(summary["dataset_score"])
        rows.append(("The data itself", score, "", "", "", "", ""))
    lines = align(rows)
    lines += [basis(summary), "The interval is a bootstrap over seeds."]
    return "\n".join([*lines, summary["reference_note"]])


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, the first row its header; numbers lie between two texts."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [row[k].rjust(widths[k]) for k in range(1, len(row) - 1)]
        lines.append("  ".join([*cells, row[-1].ljust(widths[-1])]).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def basis(summary: dict[str, Any]) -> str:
    """Says how many episodes, at which step, are behind the methods' numbers."""
    labels: dict[str, list[str]] = {}
    for entry in summary["methods"]:
        count = entry["episodes_per_seed"]
        episodes = "1 episode" if count == 1 else f"{count} episodes"
        phase = "" if entry["phase"] == "offline" else f"{entry['phase']} "
        text = f"{episodes} per seed at {phase}step {entry['step']:,}"
        labels.setdefault(text, []).append(entry["label"])
    if len(labels) == 1:
        return f"{next(iter(labels))}."
    return "; ".join(f"{', '.join(of)}: {text}" for text, of in labels.items()) + "."


def number(value: float | None) -> str:
    """One decimal, or three significant digits below 1; `-` if unknown."""
    if value is None:
        return "-"
    return f"{value:.3g}" if 0 < abs(value) < 1 else f"{value:,.1f}"


def interval(bounds: Sequence[float] | None) -> str:
    """Formats `[lower, upper]`, or says why there is none."""
    if bounds is None:
        return NO_INTERVAL
    return f"[{number(bounds[0])}, {number(bounds[1])}]"


def percent(rate: float | None) -> str:
    """Formats a rate in [0, 1]; `-` if unknown."""
    return "-" if rate is None else f"{100 * rate:.0f} %"


def _method_summary(run: RunFiles, method: Method) -> dict[str, Any]:
    phase, step = records.final_point(run, method)
    curves = {
        name: records.curve(run, method, column) for name, column in _COLUMNS.items()
    }
    at = curves["return"].points.index((phase, step))
    seeds, episodes = curves["return"].seeds, curves["return"].episodes[:, at]
    present = np.isfinite(curves["return"].values[:, at])
    if not present.any():
        present = episodes > 0
    return {
        "extraction": method.extraction,
        "num_candidates": method.num_candidates,
        "label": names.label(run, method),
        "phase": records.PHASES[phase],
        "step": step,
        "seeds": [seed for seed, here in zip(seeds, present, strict=True) if here],
        "episodes": int(episodes.sum()),
        "episodes_per_seed": int(episodes[present].min()),
        "evaluations": int(curves["return"].complete().sum()),
        **{name: _over_seeds(found, at) for name, found in curves.items()},
    }


def _over_seeds(found: Curve, at: int) -> dict[str, Any]:
    """Last, best and mean of the last evaluations of one measured number."""
    usable = found.complete()
    usable[at] = True
    means = nanmean(found.values[:, usable])
    steps = np.array(found.points)[usable][:, 1]
    steps, means = steps[np.isfinite(means)], means[np.isfinite(means)]
    per_seed = {
        str(seed): float(value)
        for seed, value in zip(found.seeds, found.values[:, at], strict=True)
        if np.isfinite(value)
    }
    final = list(per_seed.values())
    return {
        "per_seed": per_seed,
        "mean": float(statistics.mean(final)) if final else None,
        "iqm": float(statistics.interquartile_mean(final)) if final else None,
        "interval": statistics.bootstrap_interval(final) if final else None,
        "iqm_interval": statistics.bootstrap_interval(
            final, statistics.interquartile_mean
        )
        if final
        else None,
        "best": float(means.max()) if means.size else None,
        "best_step": int(steps[int(means.argmax())]) if means.size else None,
        f"mean_of_last_{LAST_K}": float(means[-LAST_K:].mean()) if means.size else None,
    }


def _headline(run: RunFiles, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Indices into `entries` of IDQL and one candidate, and their difference."""
    by_method = {Method(e["extraction"], e["num_candidates"]): e for e in entries}
    idql, single = headline_methods(run)
    headline: dict[str, Any] = {"idql": None, "single": None, "difference": None}
    if idql:
        headline["idql"] = entries.index(by_method[idql])
    if single:
        headline["single"] = entries.index(by_method[single])
    if idql and single:
        headline["difference"] = _difference(by_method[idql], by_method[single])
    return headline


def _difference(better: dict[str, Any], base: dict[str, Any]) -> dict[str, Any] | None:
    """Paired by seed: both methods share networks and start states."""
    measure = primary(better)
    first, second = better[measure]["per_seed"], base[measure]["per_seed"]
    same = (better["phase"], better["step"]) == (base["phase"], base["step"])
    gains = {seed: first[seed] - second[seed] for seed in first if seed in second}
    if not same or not gains:
        return None
    return {
        "of": measure,
        "per_seed": gains,
        "mean": float(statistics.mean(list(gains.values()))),
        "interval": statistics.bootstrap_interval(list(gains.values())),
    }


def _incomplete(run: RunFiles) -> list[str]:
    """Notes the evaluations that some seeds have not finished."""
    notes = []
    for method in records.methods(run):
        found = records.curve(run, method, "return")
        cut = [found.points[k][1] for k in np.flatnonzero(~found.complete())]
        if cut:
            notes.append(
                f"{names.label(run, method)}: unfinished evaluation at step "
                f"{', '.join(f'{step:,}' for step in cut)}."
            )
    return notes


def nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over seeds that have a value, [S, K] -> [K]; NaN where none has."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
