"""Diffusion models of a distribution of points, without a state."""

from __future__ import annotations

import contextlib
import math
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from rich.progress import track

from idql_tf import files
from idql_tf.behavior.updates import Behavior
from idql_tf.nn import dense, randomness

# Updates per compiled call.
_BLOCK = 100


def train(
    behavior: Behavior, points: np.ndarray, num_steps: int, batch_size: int
) -> None:
    """Trains on points [n, A]; the observation is a zero."""
    held = tf.constant(points, tf.float32)
    seeds, step = behavior.seeds, behavior.optimizer.step
    zeros = tf.zeros([len(seeds), batch_size, 1])

    def block(count: tf.Tensor) -> None:
        def one(i: tf.Tensor) -> tuple:
            keys = randomness.keys(seeds, "points", step)
            chosen = randomness.integers(keys, [batch_size], len(points))
            behavior.update(zeros, tf.gather(held, chosen))
            return (i + 1,)

        start = (tf.constant(0),)
        tf.while_loop(lambda i: i < count, one, start, parallel_iterations=1)

    run = dense.compiled(block)
    for done in track(range(0, num_steps, _BLOCK), "training", transient=True):
        run(tf.constant(min(_BLOCK, num_steps - done)))


def sample(behavior: Behavior, count: int) -> np.ndarray:
    """Draws points [S, count, A] from the averaged network."""
    keys = randomness.keys(behavior.seeds, "samples", 0)
    observations = tf.zeros([len(behavior.seeds), 1, 1])

    def draw() -> tf.Tensor:
        noise = behavior.draw_noise(1, count, keys)
        return behavior.denoise(observations, noise, count)[:, 0]

    drawn = dense.compiled(draw)().numpy()
    if not np.isfinite(drawn).all():
        raise FloatingPointError(
            "the model's points are not finite; lower Behavior.learning_rate"
        )
    return drawn


def kept(
    path: pathlib.Path, shape: tuple[int, ...], draw: Callable[[], np.ndarray]
) -> np.ndarray:
    """Returns the points [*shape] that an earlier call has drawn and kept, or draws.

    They are kept as bare float32 numbers. What is damaged is drawn anew.

    Raises:
      OSError: they cannot be written.
    """
    with contextlib.suppress(OSError):
        found = path.read_bytes()
        if len(found) == 4 * math.prod(shape):
            points = np.frombuffer(found, np.float32).reshape(shape)
            if np.isfinite(points).all():
                return points
    points = draw()
    with files.replacing(path, "wb") as file:
        file.write(points.astype(np.float32).tobytes())
    return points
