"""The inspection report as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_BARS = " ▁▂▃▄▅▆▇█"


def format_report(report: dict[str, Any]) -> str:
    """Renders what `inspection.inspect` returned, about 30 lines."""
    parts = (
        _identity(report),
        _distribution("return", report["returns"]),
        _distribution("length", report["lengths"]),
        _steps(report),
        _features(report["features"]),
        _duplicates(report["duplicated_episodes"]),
        _rules(report["reward_rules"]),
        _verdict(report["problems"]),
    )
    lines = [line for part in parts for line in part]
    return "\n".join(f"{name:<18} {text}".rstrip() for name, text in lines)


_Lines = list[tuple[str, str]]


def _join(values: Sequence[float | None]) -> str:
    return ", ".join("undefined" if v is None else f"{v:.6g}" for v in values)


def _range(limits: Sequence[float | None]) -> str:
    return " to ".join(_join([limit]) for limit in limits)


def _identity(report: dict[str, Any]) -> _Lines:
    counts, environment, score = (
        report["counts"],
        report["environment"],
        report["score"],
    )
    keys = report["observation_keys"]
    lines = [
        ("dataset", report["dataset"]),
        ("sha256", report["sha256"]),
        (
            "environment",
            f"{environment['id']} (from {environment['source']})"
            if environment["id"]
            else "not recorded; name one with --env_id to evaluate",
        ),
        (
            "size",
            f"{counts['transitions']:,} transitions in {counts['episodes']:,} "
            f"episodes, {counts['memory_bytes'] / 2**20:,.1f} MiB in memory",
        ),
        (
            "observations",
            f"{counts['observations']:,} x {counts['observation_size']} numbers"
            + (f" ({', '.join(keys)})" if keys else ""),
        ),
    ]
    if score is None:
        return [*lines, ("score", "no reference returns known")]
    return [
        *lines,
        (
            "score",
            f"mean {_join([score['mean']])}, best episode {_join([score['max']])} "
            f"(0 = {score['minimum_return']:g}, 100 = {score['maximum_return']:g}; "
            f"{score['source']})",
        ),
    ]


def _distribution(name: str, values: dict[str, Any]) -> _Lines:
    if not values["count"]:
        return [(f"episode {name}", "undefined: not finite in any episode")]
    quartiles = [values[q] for q in ("lower_quartile", "median", "upper_quartile")]
    counts = values["histogram"]["counts"]
    # Ceiling division: a bin with a single episode must still show.
    bars = "".join(_BARS[-(-8 * count // max(counts))] for count in counts)
    return [
        (
            f"episode {name}",
            f"mean {values['mean']:.6g} +- {values['std']:.6g}, "
            f"quartiles {_join(quartiles)}",
        ),
        ("", f"{values['min']:.6g} |{bars}| {values['max']:.6g}"),
    ]


def _steps(report: dict[str, Any]) -> _Lines:
    ends, rewards = report["ends"], report["rewards"]
    lines = [
        (
            "episode ends",
            f"{ends['terminated']:,} terminated (mask 0), {ends['timed_out']:,} timed "
            f"out (mask 1)",
        )
    ]
    if rewards["count"]:
        text = (
            f"{rewards['min']:.6g} to {rewards['max']:.6g}, mean {rewards['mean']:.6g} "
            f"+- {rewards['std']:.6g}, {100 * rewards['fraction_zero']:.1f} % zero"
        )
        lines.append(("rewards", text))
        if rewards["distinct"]:
            values = ", ".join(f"{v}: {n:,}" for v, n in rewards["distinct"].items())
            lines.append(("", f"{rewards['num_distinct']} distinct values ({values})"))
    return lines + _actions(report["actions"])


def _actions(actions: dict[str, Any]) -> _Lines:
    if "counts" not in actions:
        fractions = actions["fraction_at_bounds"]
        percent = " ".join(f"{100 * fraction:.1f}" for fraction in fractions)
        return [("actions", f"{len(fractions)} numbers; % at a bound: {percent}")]
    counts = dict(enumerate(actions["counts"], round(actions["low"][0])))
    times = ", ".join(f"{action}: {n:,}" for action, n in counts.items())
    never = ", ".join(str(action) for action, n in counts.items() if not n)
    lines = [("actions", f"one of {len(counts)} ({times})")]
    return [*lines, ("", f"never taken: {never}")] if never else lines


def _features(features: dict[str, Any]) -> _Lines:
    constant = ", ".join(
        f"{c['feature']} (= {_join([c['value']])})" for c in features["constant"]
    )
    bad = ", ".join(
        f"{c['feature']} ({c['count']:,} from row {c['first_row']})"
        for c in features["non_finite"]
    )
    return [
        ("constant features", constant or "none"),
        ("non-finite", bad or "none"),
    ]


def _duplicates(duplicates: dict[str, Any]) -> _Lines:
    if not duplicates["count"]:
        return [("duplicates", "no episode occurs twice")]
    groups = "; ".join(" = ".join(map(str, group)) for group in duplicates["groups"])
    return [("duplicates", f"{duplicates['count']:,} repeated episodes: {groups}")]


def _rules(rules: dict[str, Any]) -> _Lines:
    lines: _Lines = []
    for name, effect in rules.items():
        title = "" if lines else "reward rules"
        if "error" in effect:
            lines.append((title, f"{name}: {effect['error']}"))
            continue
        lines.append(
            (
                title,
                f"{name}: r * {effect['scale']:.6g} + {effect['offset']:g}, rewards "
                f"{_range(effect['rewards'])}, returns {_range(effect['returns'])}",
            )
        )
    return lines


def _verdict(problems: list[str]) -> _Lines:
    if not problems:
        return [("verdict", "can be trained on")]
    lines = [("verdict", "cannot be trained on:")]
    return [*lines, *(("", problem) for problem in problems)]
