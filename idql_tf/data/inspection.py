"""A report on a dataset: what is in it, and whether it can be trained on."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections import defaultdict
from typing import Any

import numpy as np

from idql_tf import files
from idql_tf.data import rewards as reward_rules
from idql_tf.data.preprocessing import ACTION_LIMIT
from idql_tf.data.report_text import format_report
from idql_tf.data.scores import normalize
from idql_tf.data.transitions import Transitions
from idql_tf.data.validation import row_blocks
from idql_tf.errors import UserError

__all__ = ["format_report", "inspect", "require_trainable"]

_MAX_LISTED = 10


def inspect(transitions: Transitions, env_id: str | None = None) -> dict[str, Any]:
    """Reports on a dataset loaded with `validate=False`.

    Args:
      transitions: the data.
      env_id: the environment the user named, if any, for its provenance.

    Returns:
      A dict of plain JSON types (undefined numbers are None); `problems` is
      empty if the data can be trained on.
    """
    info = transitions.info
    returns, lengths = transitions.episode_returns(), transitions.episode_lengths()
    return {
        "dataset": info.dataset,
        "sha256": info.sha256,
        "environment": _environment(info.env_spec, env_id),
        "counts": {
            "transitions": len(transitions),
            "observations": len(transitions.rows),
            "episodes": info.num_episodes,
            "observation_size": info.observation_size,
            "action_size": info.action_size,
            "memory_bytes": transitions.num_bytes,
        },
        "observation_keys": list(info.observation_keys),
        "returns": _distribution(returns),
        "lengths": _distribution(lengths),
        "ends": _ends(transitions),
        "rewards": _rewards(transitions.rewards),
        "actions": _actions(transitions),
        "features": _features(transitions.rows),
        "duplicated_episodes": _duplicates(transitions),
        "score": _score(transitions, returns),
        "reward_rules": {
            name: _rule_effect(name, transitions, returns, lengths)
            for name in reward_rules.NAMES
        },
        "problems": list(transitions.problems),
    }


def require_trainable(report: dict[str, Any]) -> None:
    """Raises the first of a report's problems.

    Raises:
      UserError: the data cannot be trained on.
    """
    problems = report["problems"]
    if problems:
        more = f" (and {len(problems) - 1} more, above)" if len(problems) > 1 else ""
        raise UserError(f"{report['dataset']}: {problems[0]}{more}")


def write(report: dict[str, Any], path: str | pathlib.Path) -> None:
    """Writes a report of `inspect` as strict JSON, whole or not at all.

    Raises:
      UserError: the file cannot be written, or is another than such a report.
    """
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    files.check_replaceable(pathlib.Path(path), text.partition(":")[0], "--json")
    try:
        files.write_atomically(pathlib.Path(path), text)
    except (OSError, ValueError) as error:  # ValueError: '.' has no file name.
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"the report cannot be written to '{path}': {reason}; expected a file "
            f"in a place that can be written; choose another"
        ) from error


def _number(value: Any) -> float | None:
    """Makes a JSON number; JSON has no NaN and no infinity."""
    return float(value) if np.isfinite(value) else None


def _environment(env_spec: str | None, env_id: str | None) -> dict[str, Any]:
    if env_spec is None:
        return {"id": None, "source": None, "spec": None}
    spec = json.loads(env_spec)
    source = "--env_id" if env_id else "the dataset's metadata"
    return {"id": spec["id"], "source": source, "spec": spec}


def _distribution(values: np.ndarray) -> dict[str, Any]:
    """Summarises per-episode numbers [E]; non-finite ones are left out."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {"count": 0}
    quartiles = np.quantile(finite, [0.0, 0.25, 0.5, 0.75, 1.0])
    names = ("min", "lower_quartile", "median", "upper_quartile", "max")
    counts, edges = np.histogram(finite, bins=20)
    return {
        "count": len(finite),
        **{n: float(q) for n, q in zip(names, quartiles, strict=True)},
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
    }


def _ends(transitions: Transitions) -> dict[str, int]:
    terminated = int((transitions.masks[transitions.dones] == 0).sum())
    return {
        "terminated": terminated,
        "timed_out": transitions.info.num_episodes - terminated,
    }


def _rewards(rewards: np.ndarray) -> dict[str, Any]:
    finite = rewards[np.isfinite(rewards)]
    if not len(finite):
        return {"count": 0}
    values, counts = np.unique(finite, return_counts=True)
    few = len(values) <= _MAX_LISTED
    return {
        "count": len(finite),
        "min": float(finite.min()),
        "max": float(finite.max()),
        "mean": float(finite.mean(dtype=np.float64)),
        "std": float(finite.std(dtype=np.float64)),
        "fraction_zero": float((finite == 0).mean()),
        "num_distinct": len(values),
        "distinct": dict(zip(map(str, values.tolist()), counts.tolist(), strict=True))
        if few
        else None,
    }


def _actions(transitions: Transitions) -> dict[str, Any]:
    info = transitions.info
    bounds = {"low": list(info.action_low), "high": list(info.action_high)}
    if info.discrete_actions:
        counts = transitions.actions.sum(0, dtype=np.int64)
        return {**bounds, "counts": counts.tolist()}
    at_bound = np.zeros(info.action_size, np.int64)
    for _, block in row_blocks(transitions.actions):
        at_bound += (np.abs(block) >= ACTION_LIMIT * (1 - 1e-6)).sum(axis=0)
    return {**bounds, "fraction_at_bounds": (at_bound / len(transitions)).tolist()}


def _features(rows: np.ndarray) -> dict[str, Any]:
    """Finds columns of the observations that never change or are not finite."""
    bad_count = np.zeros(rows.shape[1], np.int64)
    first_bad = np.full(rows.shape[1], -1, np.int64)
    for start, block in row_blocks(rows):
        bad = ~np.isfinite(block)
        new = bad.any(axis=0) & (first_bad < 0)
        first_bad[new] = start + bad.argmax(axis=0)[new]
        bad_count += bad.sum(axis=0)
    constant = np.flatnonzero(rows.min(axis=0) == rows.max(axis=0))
    return {
        "constant": [
            {"feature": int(j), "value": _number(rows[0, j])} for j in constant
        ],
        "non_finite": [
            {"feature": int(j), "first_row": int(first_bad[j]), "count": int(n)}
            for j, n in enumerate(bad_count)
            if n
        ],
    }


def _duplicates(transitions: Transitions) -> dict[str, Any]:
    """Finds episodes with equal observations, actions and rewards, by hash."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    index = transitions.index
    for i, part in enumerate(transitions.episode_slices()):
        rows = transitions.rows[index[part.start] : index[part.stop - 1] + 1]
        digest = hashlib.blake2b(digest_size=16)
        for array in (rows, transitions.actions[part], transitions.rewards[part]):
            digest.update(array.reshape(-1).data)
        groups[digest.digest()].append(i)
    repeated = [group for group in groups.values() if len(group) > 1]
    return {
        "count": sum(len(group) - 1 for group in repeated),
        "groups": repeated[:_MAX_LISTED],
    }


def _score(transitions: Transitions, returns: np.ndarray) -> dict[str, Any] | None:
    reference = transitions.info.reference
    if reference is None:
        return None
    return {
        "mean": _number(normalize(returns.mean(), reference)),
        "max": _number(normalize(returns.max(), reference)),
        "minimum_return": reference.minimum,
        "maximum_return": reference.maximum,
        "source": reference.source,
    }


def _rule_effect(
    name: str, transitions: Transitions, returns: np.ndarray, lengths: np.ndarray
) -> dict[str, Any]:
    """Applies a reward rule to the ranges of rewards and episode returns."""
    try:
        rule = reward_rules.resolve(name, transitions)
    except UserError as error:
        return {"error": str(error)}
    limits = np.array([transitions.rewards.min(), transitions.rewards.max()], float)
    totals = returns * rule.scale + lengths * rule.offset
    return {
        "scale": rule.scale,
        "offset": rule.offset,
        "rewards": [_number(rule(limit)) for limit in limits],
        "returns": [_number(totals.min()), _number(totals.max())],
    }
