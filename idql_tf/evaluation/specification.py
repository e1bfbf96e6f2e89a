"""Reads spec.json of a run: any field may be absent, none may be of a wrong type."""

from __future__ import annotations

import json
import math
import operator
import pathlib
from typing import Any

from idql_tf.data.preprocessing import MOST_ACTIONS
from idql_tf.errors import UserError

# Wider than float32, and no sum or square of a run's numbers overflows.
LARGEST_NUMBER = 1e100
LARGEST_FLOAT32 = 3e38
# Integers up to here are exact as float64, which plots take.
LARGEST_INTEGER = 2**53


def read(path: pathlib.Path) -> dict[str, Any]:
    """Reads and checks the specification that `train.py` wrote.

    Raises:
      UserError: it cannot be read, is not JSON, or a field is of another type or
        size than `train.py` writes.
    """
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(spec, indent=2)  # Shown so later; fails on deeper nesting.
    except (OSError, RecursionError, ValueError) as error:
        raise UserError(
            f"{path} is not JSON ({error!s:.200}); expected what train.py writes; "
            "restore the file"
        ) from error
    field = "the whole"
    try:
        if not isinstance(spec, dict):
            raise TypeError(f"expected an object, found {spec!r:.60}")
        for field, check in _FIELDS.items():
            if spec.get(field) is not None:
                check(spec[field])
        field = "dataset"
        dataset = spec.get("dataset") or {}
        for name, check in _DATASET_FIELDS.items():
            field = f"dataset.{name}"
            if name in dataset and (
                name not in _MAY_BE_NULL or dataset[name] is not None
            ):
                check(dataset[name])
        field = "dataset or observation_statistics"
        _check_sizes(dataset, spec.get("observation_statistics"))
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: {field} is damaged ({error!s:.120}); expected what train.py "
            "writes; restore the file"
        ) from error
    return spec


def integer(value: Any) -> int:
    """Returns an integer, given as one or as text, that float64 holds exactly.

    Raises:
      ValueError: it is none, or too large.
    """
    number = int(value)
    if abs(number) > LARGEST_INTEGER:
        raise ValueError(f"{value!s:.40} is too large")
    return number


def _text(value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r:.60}")
    value.encode()  # A page cannot hold half of a surrogate pair.


def _count(value: Any) -> None:
    if type(value) is not int:
        raise TypeError(f"expected an integer, found {value!r:.60}")
    integer(value)


def _flag(value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, found {value!r:.60}")


def _number(value: Any) -> None:
    if type(value) not in (int, float) or not abs(value) < LARGEST_NUMBER:
        raise TypeError(f"expected a number, found {value!r:.60}")


def _score(value: Any) -> None:
    if not (isinstance(value, float) and math.isnan(value)):
        _number(value)


def _object(value: Any) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, found {value!r:.60}")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, found {value!r:.60}")
    return value


def _seeds(value: Any) -> None:
    for seed in _list(value):
        _count(seed)
    if len(set(value)) < len(value):
        raise ValueError("a seed is there twice")


def _keys(value: Any) -> None:
    for key in _list(value):
        _text(key)


def _methods(value: Any) -> None:
    for rule, count in map(_list, _list(value)):
        _text(rule)
        _count(count)


def _rule(value: Any) -> None:
    _object(value)
    _text(value.get("name", ""))
    for name in ("scale", "offset"):
        _number(value.get(name, 0))


def _texts(value: Any) -> None:
    _object(value)
    for text in value.values():
        _text(text)


def _reference(value: Any) -> None:
    _object(value)
    _number(value["minimum"])
    _number(value["maximum"])
    _text(value["source"])
    if not value["minimum"] < value["maximum"]:
        raise ValueError("expected a minimum below the maximum")
    if len(value) > 3:
        raise TypeError(f"expected minimum, maximum and source, found {list(value)}")


def _size(value: Any) -> None:
    _count(value)
    if value < 1:
        raise ValueError(f"expected a positive integer, found {value}")


def _numbers(value: Any) -> None:
    for number in _list(value):
        _number(number)
        if abs(number) > LARGEST_FLOAT32:
            raise ValueError(f"{number} is beyond float32")


def _statistics(value: Any) -> None:
    _object(value)
    for name in ("mean", "stddev", "minimum", "maximum"):
        _numbers(value[name])


def _check_sizes(dataset: dict[str, Any], statistics: dict[str, Any] | None) -> None:
    """Raises ValueError where lists are not as long as their spaces have dimensions."""
    low, high = (dataset.get(name) or [] for name in ("action_low", "action_high"))
    known = "action_low" in dataset and "action_high" in dataset
    if known and not (
        low and len(low) == len(high) and all(map(operator.lt, low, high))
    ):
        raise ValueError(
            f"expected action_low below action_high, found {low} and {high}"
        )
    if known and dataset.get("discrete_actions"):
        first, last = _whole(low), _whole(high)
        if last - first >= MOST_ACTIONS:
            raise ValueError(f"expected at most {MOST_ACTIONS:,} discrete actions")
    size = dataset.get("observation_size")
    for name, numbers in (statistics or {}).items():
        if size is not None and len(numbers) != size:
            raise ValueError(
                f"observation_size is {size}, found {len(numbers)} numbers of {name}"
            )


def _whole(bound: list[float]) -> int:
    """The number of a discrete action, alone in its list."""
    (number,) = bound
    if number != int(number):
        raise ValueError(f"expected the number of a discrete action, found {number}")
    return int(number)


def _histogram(value: Any) -> None:
    _object(value)
    edges, counts = _list(value["edges"]), _list(value["counts"])
    for number in (*edges, *counts):
        _number(number)
    if len(edges) != len(counts) + 1 or edges != sorted(edges) or min(counts) < 0:
        raise ValueError("expected ascending edges, one more than counts from 0 up")


_FIELDS = {
    "dataset": _object,
    "reward_rule": _rule,
    "seeds": _seeds,
    "env_id": _text,
    "finetuned_from": _text,
    "evaluated_from": _text,
    "num_transitions": _count,
    "dataset_score": _score,
    "dataset_returns": _histogram,
    "versions": _texts,
    "methods": _methods,
    "observation_statistics": _statistics,
}
_DATASET_FIELDS = {
    "dataset": _text,
    "sha256": _text,
    "env_spec": _text,
    "observation_keys": _keys,
    "observation_size": _size,
    "action_low": _numbers,
    "action_high": _numbers,
    "reference": _reference,
    "num_episodes": _count,
    "discrete_actions": _flag,
}
_MAY_BE_NULL = ("env_spec", "reference")
