"""What spec.json of a run must hold: it may have been edited, or cut short."""

from __future__ import annotations

import json
import math
import operator
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from idql_tf.errors import UserError


def read(folder: pathlib.Path) -> dict[str, Any]:
    """Reads spec.json of a run directory and checks what it holds.

    Raises:
      UserError: the directory is not a run, or the file is damaged.
    """
    file = folder / "spec.json"
    if not file.is_file():
        raise UserError(
            f"{folder} is not a run: no spec.json; name a --run_dir of train.py"
        )
    try:
        spec = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file} cannot be read as JSON ({error}); restore it or start a new run"
        ) from error
    for name, found, expected, fits in _checks(spec):
        if not fits:
            text = json.dumps(found)
            text = text if len(text) <= 60 else text[:57] + "..."
            raise UserError(
                f"{file} is damaged: {name} is {text}; expected {expected}; restore "
                "the file or start a new run"
            )
    return spec


def _checks(spec: Any) -> Iterator[tuple[str, Any, str, bool]]:
    """Name, value, what is expected and whether it is; each may trust those before."""
    yield "its content", spec, "an object", isinstance(spec, dict)
    data = spec.get("dataset")
    yield "dataset", data, "its record", _record(data, dataset=_text, sha256=_text)
    size, low, high = (
        data.get(name) for name in ("observation_size", "action_low", "action_high")
    )
    yield "observation_size", size, "a positive integer", _whole(size)
    yield "action_low", low, "finite numbers", _list(low, _number)
    above = f"finite numbers above {low}"
    yield "action_high", high, above, _list(high, _number, len(low))
    yield "action_high", high, above, all(map(operator.lt, low, high))
    keys, env_spec = data.get("observation_keys"), data.get("env_spec", 0)
    yield "observation_keys", keys, "names", keys == [] or _list(keys, _text)
    yield "env_spec", env_spec, "text or null", env_spec is None or _text(env_spec)
    reference = data.get("reference", 0)
    fits = reference is None or _record(
        reference, minimum=_number, maximum=_number, source=_text
    )
    yield "reference", reference, "minimum, maximum and source, or null", fits
    env_id = spec.get("env_id")
    yield "env_id", env_id, "text or null", env_id is None or _text(env_id)
    seeds, rule = spec.get("seeds"), spec.get("reward_rule")
    yield "seeds", seeds, "integers", _list(seeds, lambda x: _whole(x, 0))
    fits = _record(rule, name=_text, scale=_number, offset=_number)
    yield "reward_rule", rule, "name, scale and offset", fits
    methods, statistics = spec.get("methods"), spec.get("observation_statistics")
    fits = methods is None or _list(methods, _is_method)
    yield "methods", methods, "pairs of a name and a number of candidates", fits
    names = ("mean", "stddev", "minimum", "maximum")
    numbers = dict.fromkeys(names, lambda x: _list(x, _number, size))
    expected = f"{', '.join(names)} of {size} numbers each"
    fits = statistics is None or _record(statistics, **numbers)
    yield "observation_statistics", statistics, expected, fits


def _whole(value: Any, least: int = 1) -> bool:
    return type(value) is int and value >= least


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _list(value: Any, of: Callable[[Any], bool], size: int | None = None) -> bool:
    fits = isinstance(value, list) and (len(value) == size if size else len(value) > 0)
    return fits and all(map(of, value))


def _record(value: Any, **fields: Callable[[Any], bool]) -> bool:
    if not isinstance(value, dict):
        return False
    return all(name in value and fits(value[name]) for name, fits in fields.items())


def _is_method(value: Any) -> bool:
    return _list(value, lambda _: True, 2) and _text(value[0]) and _whole(value[1])
