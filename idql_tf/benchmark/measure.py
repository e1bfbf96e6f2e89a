"""Timing: programs of plain matrix products, and repeats taken in turns."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from idql_tf.benchmark.flops import Layer
from idql_tf.nn import dense

Run = Callable[[int], object]
"""Does the work `count` times in one compiled call and waits for the end."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one piece of work, from several calls.

    Attributes:
      seconds: per piece of work, one entry per call, in the order of the calls.
      count: pieces of work per call.
      first_call: seconds of the first call of one piece: tracing and compiling.
    """

    seconds: tuple[float, ...]
    count: int
    first_call: float

    @property
    def median(self) -> float:
        """Median seconds of one piece of work."""
        return statistics.median(self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers as JSON-able values."""
        return {
            "median_seconds": self.median,
            "minimum_seconds": min(self.seconds),
            "seconds": list(self.seconds),
            "count_per_call": self.count,
            "first_call_seconds": self.first_call,
        }


def in_turns(
    runs: Mapping[str, Run],
    repeats: int,
    call_seconds: float,
    on_call: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Times every run `repeats` times, A B C A B C ..., after a first call of each.

    Args:
      runs: what is compared, by name.
      repeats: timed calls of each.
      call_seconds: each call does as many pieces as take about this long.
      on_call: called after every call, `repeats` + 2 times per run.
    """
    first, counts = {}, {}
    for name, run in runs.items():
        first[name] = _seconds(run, 1)
        on_call()
        counts[name] = max(1, round(call_seconds / _seconds(run, 1)))
        on_call()
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(_seconds(run, counts[name]) / counts[name])
            on_call()
    return {
        name: Timing(tuple(found[name]), counts[name], first[name]) for name in runs
    }


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median of above[i] / below[i]; what slows both calls of a turn cancels."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _seconds(run: Run, count: int) -> float:
    start = time.perf_counter()
    run(count)
    return time.perf_counter() - start


def repeated(step: Callable[[], tf.Tensor]) -> Run:
    """Compiles `step` into a loop; its scalar results are summed, so all are made.

    The loop has no XLA: this is the rate of the library's kernels.
    """

    @tf.function(autograph=False)
    def loop(count: tf.Tensor) -> tf.Tensor:
        return _loop(step, count)

    return lambda count: float(loop(tf.constant(count)))


def products(layers: Sequence[Layer]) -> Run:
    """Plain matmuls with the shapes and transposes of `layers`, and nothing else.

    Every product has operands of its own, so none can be shared or left out.
    """
    once = [_operands(layer) for layer in layers if layer.repeats == 1]
    chained = [(layer.repeats, _operands(layer)) for layer in layers if layer.repeats > 1]
    repeats = {count for count, _ in chained}

    def step() -> tf.Tensor:
        corners = [c for group in once for c in _corners(*group)]
        for count in sorted(repeats):
            groups = [g for n, g in chained if n == count]
            corners.append(
                _loop(
                    lambda groups=groups: tf.add_n(
                        [c for g in groups for c in _corners(*g)]
                    ),
                    tf.constant(count),
                )
            )
        return tf.add_n(corners)

    return repeated(step)
