"""What the figures say about the claims made for this package."""

from __future__ import annotations

from typing import Any

# Our own bounds on its overhead over the machine's matrix products.
LEAST_MATMUL_FRACTION = 0.70
MOST_STACKING_COST = 0.03
# Most time of an exported model's call over its products alone, by batch size.
MOST_EXPORTED_COST = {1: 1.5, 64: 1.2}
HEADLINE_WORK = "1 critic + 1 behaviour"


# Part of the cores that others may take before the figures mean little.
_MOST_OTHERS = 0.05


def idle(machine: dict[str, Any]) -> bool:
    """Tells whether other processes left the cores alone, as far as known."""
    others = machine["cores_taken_by_others"]
    return others is None or others <= _MOST_OTHERS * machine["cores"]


def judge(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns one verdict per claim: {claim, holds, text}.

    The claims are made for the first size (the paper's) and a stack of one.
    """
    size = next(iter(results["settings"]["sizes"]))
    rows = {
        row["xla"]: row
        for row in results["updates"]
        if (row["size"], row["num_seeds"], row["work"]) == (size, 1, HEADLINE_WORK)
    }
    judged = [_stacking(row) for row in results["stacking"] if row["size"] == size]
    if rows:
        judged = [_rate(rows[results["default_xla"]], size), *judged]
        judged.append(_xla(rows, results["default_xla"], size))
    return judged + [
        _exported(row)
        for row in results["exported"]
        if row["size"] == size and row["batch_size"] in MOST_EXPORTED_COST
    ]


def _rate(row: dict[str, Any], size: str) -> dict[str, Any]:
    # The stricter of the two: no update can have its products all side by side.
    found, in_order = row["unordered_fraction"], row["matmul_fraction"]
    return {
        "claim": "unordered_fraction",
        "holds": found >= LEAST_MATMUL_FRACTION,
        "text": (
            f"{size} update, S = 1: {found:.0%} of its matmuls' rate side by side (at "
            f"least {LEAST_MATMUL_FRACTION:.0%}), {in_order:.0%} in order"
        ),
    }


def _stacking(row: dict[str, Any]) -> dict[str, Any]:
    cost = row["ratio"] - 1.0
    return {
        "claim": "stacking",
        "holds": cost <= MOST_STACKING_COST,
        "text": (
            f"{row['size']} network, a stack of one against no stack: {cost:+.1%} time "
            f"(at most {MOST_STACKING_COST:+.0%})"
        ),
    }


def _exported(row: dict[str, Any]) -> dict[str, Any]:
    cost, most = 1.0 / row["matmul_fraction"], MOST_EXPORTED_COST[row["batch_size"]]
    return {
        "claim": f"exported_{row['batch_size']}",
        "holds": cost <= most,
        "text": (
            f"exported {row['size']} model, B = {row['batch_size']}, N = "
            f"{row['num_candidates']}: {cost:.2f} times its matmuls in order "
            f"(at most {most})"
        ),
    }


def _xla(rows: dict[bool, dict[str, Any]], default: bool, size: str) -> dict[str, Any]:
    ratio = rows[True]["median_seconds"] / rows[False]["median_seconds"]
    faster = ratio < 1.0
    names = ("on", "off") if faster else ("off", "on")
    return {
        "claim": "xla",
        "holds": faster == default,
        "text": (
            f"{size} update, S = 1: XLA {names[0]} is "
            f"{max(ratio, 1.0 / ratio):.2f} times as fast as {names[1]}; "
            f"IdqlLearner.xla = None takes {'on' if default else 'off'}"
        ),
    }
