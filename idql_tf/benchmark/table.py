"""The benchmark's results as plain text, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from idql_tf.benchmark import verdicts

WIDTH = 100

# The last columns: rate of the same products as plain matmuls in order, ours divided
# by it and by their rate all side by side, and seconds to trace, compile and take the
# first step.
_UPDATE_COLUMNS = (
    *("S", "XLA", "ms", "min ms", "GFLOP/s"),
    *("matmuls", "fraction", "beside", "compile s"),
)
_POLICY_COLUMNS = (
    *("B", "ms", "min ms", "candidates/s", "GFLOP", "GFLOP/s"),
    *("matmuls ms", "fraction"),
)


def render(results: dict[str, Any]) -> str:
    """Lays the results of `suite.measure` out as tables and verdicts."""
    parts = [_machine(results)]
    for size in results["settings"]["sizes"]:
        parts.append(updates([r for r in results["updates"] if r["size"] == size]))
        for name, kind in (("policy", "extraction"), ("exported", "exported")):
            rows = [r for r in results[kind] if r["size"] == size]
            parts.append(_extraction(f"{name}: {size}", rows))
    sure = verdicts.idle(results["machine"])
    parts.append("\n".join(_verdict(v, sure) for v in results["verdicts"]))
    return "\n\n".join(part for part in parts if part)


def _machine(results: dict[str, Any]) -> str:
    found, rates = results["machine"], results["rates"]
    device = (
        ", ".join(found["gpus"]) if found["device"] == "GPU" else found["processor"]
    )
    others = found["cores_taken_by_others"]
    square, memory = rates["square_matmul"], rates["memory"]
    lines = [
        f"{device}, {found['cores']} cores; TensorFlow "
        f"{found['versions']['tensorflow']}; {found['date']}",
        f"float32 matmul of {square['size']} x {square['size']}: "
        f"{_giga(square['flops_per_second'])} GFLOP/s; memory: "
        f"{_giga(memory['bytes_per_second'])} GB/s; {results['seconds']:.0f} s in all",
    ]
    if not verdicts.idle(found):
        lines.append(
            f"The machine was not idle: other processes took {others:.1f} of "
            f"{found['cores']} cores. Measure again with them closed."
        )
    return "\n".join(line[:WIDTH] for line in lines)


def updates(rows: Sequence[dict[str, Any]]) -> str:
    """Lays rows of `workloads.updates` of one size out as a table."""
    if not rows:
        return ""
    header = (f"updates: {rows[0]['size']}", *_UPDATE_COLUMNS)
    cells = [
        (
            row["work"],
            str(row["num_seeds"]),
            "on" if row["xla"] else "off",
            _milliseconds(row["median_seconds"]),
            _milliseconds(row["minimum_seconds"]),
            _giga(row["flops_per_second"]),
            _giga(row["matmul"]["flops_per_second"]),
            f"{row['matmul_fraction']:.0%}",
            f"{row['unordered_fraction']:.0%}",
            f"{row['compile_seconds']:.1f}",
        )
        for row in rows
    ]
    return _aligned([header, *cells])


def _extraction(title: str, rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return ""
    header = (title, *_POLICY_COLUMNS)
    cells = [
        (
            f"N = {row['num_candidates']}",
            str(row["batch_size"]),
            _milliseconds(row["median_seconds"]),
            _milliseconds(row["minimum_seconds"]),
            f"{row['candidates_per_second']:,.0f}",
            f"{row['flops'] / 1e9:.3f}",
            _giga(row["flops_per_second"]),
            _milliseconds(row["matmul"]["median_seconds"]),
            f"{row['matmul_fraction']:.0%}",
        )
        for row in rows
    ]
    return _aligned([header, *cells])


def _verdict(verdict: dict[str, Any], sure: bool) -> str:
    word = "holds" if verdict["holds"] else "FAILS"
    return f"{word}{' ' if sure else '?'} {verdict['text']}"


def _giga(value: float) -> str:
    return f"{value / 1e9:,.0f}" if value >= 1e10 else f"{value / 1e9:.1f}"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """First column to the left, numbers to the right, a rule under the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
