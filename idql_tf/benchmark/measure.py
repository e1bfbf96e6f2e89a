"""Timing: repeats taken in turns, and programs of plain matrix products."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from idql_tf.benchmark.flops import Layer
from idql_tf.nn import dense, randomness

# Does the work `count` times and returns when it is done.
Run = Callable[[int], object]

_Operands = tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one piece of work, from several calls.

    Attributes:
      seconds: per piece of work, one entry per call, in the order of the calls.
      count: pieces of work per call.
      first_call: seconds of the very first piece: tracing, compiling, running.
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
    runs: Mapping[Any, Run],
    repeats: int,
    call_seconds: float,
    on_call: Callable[[], object] = lambda: None,
) -> dict[Any, Timing]:
    """Times every run `repeats` times in turns, A B C A B C ..., once all are warm.

    Args:
      runs: what is compared, by name.
      repeats: timed calls of each.
      call_seconds: a call does as many pieces of work as take about this long.
      on_call: called after every call, `repeats` + 2 times per run.
    """
    first, counts = {}, {}
    for name, run in runs.items():
        first[name] = seconds(run, 1)
        on_call()
        counts[name] = max(1, round(call_seconds / seconds(run, 1)))
        on_call()
    found: dict[Any, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(seconds(run, counts[name]) / counts[name])
            on_call()
    return {
        name: Timing(tuple(found[name]), counts[name], first[name]) for name in runs
    }


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median of above[i] / below[i]: what slows both calls of a turn cancels."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def seconds(run: Run, count: int) -> float:
    """Returns the wall-clock seconds of one call."""
    start = time.perf_counter()
    run(count)
    return time.perf_counter() - start


def repeated(step: Callable[[], tf.Tensor], xla: bool = False) -> Run:
    """Compiles a loop over `step` [], whose results are summed so that all are made."""
    return repeated_beside([(step, 1)], xla)


def repeated_beside(
    steps: Sequence[tuple[Callable[[], tf.Tensor], int]], xla: bool = False
) -> Run:
    """Compiles a loop over each step, taken so often per piece of work.

    The loops do not wait for each other, as those of the critic and of the behaviour
    model do not.
    """

    def loops(count: tf.Tensor) -> tf.Tensor:
        return tf.add_n([_summed(step, count * times) for step, times in steps])

    compiled = dense.compiled(loops, xla)
    return lambda count: float(compiled(tf.constant(count)))


def products(
    layers: Sequence[Layer], in_order: bool = False
) -> Callable[[], tf.Tensor]:
    """Plain matmuls with the shapes and transposes of `layers`, and nothing else.

    Every product has operands of its own, so that none can be shared or left
    out. For `repeated` without XLA, which would: the rate of `tf.matmul` of matrices.
    A trained network may be faster at some of them (`dense.affine` of wide layers).

    Args:
      layers: what is multiplied.
      in_order: a layer waits for the one before, forward and then back, all its
        copies together, as in a pass through a network. A layer's two gradients may
        run side by side, and so may networks that are trained and those that are
        not (the critic's real ones wait for each other). If not in order, all may.
    """
    groups: dict[int, list] = {layer.repeats: [] for layer in layers}
    for layer in layers:
        groups[layer.repeats].append((layer, _operands(layer)))

    def once(repeats: int) -> tf.Tensor:
        chains = itertools.groupby(
            groups[repeats], lambda pair: pair[0].weight_gradient
        )
        made: list[tf.Tensor] = []
        for _, chain in chains:
            made += _pass(list(chain), in_order)
        return tf.add_n(made)

    def step() -> tf.Tensor:
        sums: list[tf.Tensor] = []
        for n in sorted(groups, reverse=True):
            with tf.control_dependencies(sums[-1:] if in_order else []):
                one = functools.partial(once, n)
                sums.append(_summed(one, tf.constant(n)) if n > 1 else one())
        return tf.add_n(sums)

    return step


def normal(*shape: int) -> tf.Tensor:
    """Returns standard normal numbers, the same at every call."""
    return tf.random.stateless_normal(shape, (0, 0), alg=randomness.ALGORITHM)


def square_matmul(size: int) -> Run:
    """One [size, size] @ [size, size] product."""
    return repeated(products([Layer(size, size, size)]))


def memory_pass(num_bytes: int) -> Run:
    """One pass that reads and writes a float32 vector of `num_bytes`."""

    def passes(count: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(
            lambda i, _: i < count,
            lambda i, x: (i + 1, x + 1.0),
            (tf.constant(0), tf.zeros([num_bytes // 4])),
            parallel_iterations=1,
        )[1][-1]

    loop = dense.compiled(passes, xla=False)
    return lambda count: float(loop(tf.constant(count)))


def _summed(step: Callable[[], tf.Tensor], count: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(
        lambda i, _: i < count,
        lambda i, total: (i + 1, total + step()),
        (tf.constant(0), tf.constant(0.0)),
        parallel_iterations=1,
    )[1]


def _operands(layer: Layer) -> list[_Operands]:
    """Inputs, weights and output gradients, one triple per matmul as executed.

    As `dense.affine` has it, a GPU takes the copies in one batched product.
    """
    batched = dense.on_gpu() and layer.copies > 1
    lead, count = ((layer.copies,), 1) if batched else ((), layer.copies)
    m, k, n = layer.rows, layer.n_in, layer.n_out
    backward = layer.weight_gradient or layer.input_gradient
    return [
        (
            normal(*lead, m, k),
            normal(*lead, k, n),
            normal(*lead, m, n) if backward else None,
        )
        for _ in range(count)
    ]


def _pass(
    chain: list[tuple[Layer, list[_Operands]]], in_order: bool
) -> list[tf.Tensor]:
    """One element of every product: of the layers forward, then of those trained."""
    made: list[tf.Tensor] = []
    last: list[tf.Tensor] = []
    for _, operands in chain:
        with tf.control_dependencies(last if in_order else []):
            last = [tf.matmul(x, w) for x, w, _ in operands]
        made += last
    for layer, operands in reversed(chain):
        with tf.control_dependencies(last if in_order else []):
            if layer.weight_gradient:
                made += [tf.matmul(x, g, transpose_a=True) for x, _, g in operands]
            if layer.input_gradient:
                last = [tf.matmul(g, w, transpose_b=True) for _, w, g in operands]
                made += last
    return [y[(0,) * y.shape.rank] for y in made]
