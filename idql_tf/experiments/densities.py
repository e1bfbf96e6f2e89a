"""Two-dimensional sets of points that are hard to model (IDQL Figure 3).

Each function draws n points; `draw` brings their coordinates within +-0.85.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_Rng = np.random.Generator


def _swiss_roll(rng: _Rng, n: int) -> np.ndarray:
    angle = 1.5 * np.pi * (1.0 + 2.0 * rng.random(n))
    roll = angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return roll + 0.001 * rng.standard_normal((n, 2))


def _moons(rng: _Rng, n: int) -> np.ndarray:
    angle, second = np.pi * rng.random(n), rng.random(n) < 0.5
    outer = np.stack([np.cos(angle), np.sin(angle)], 1)
    moons = np.where(second[:, None], [1.0, 0.5] - outer, outer)
    return moons + 0.25 * rng.standard_normal((n, 2))


def _checkerboard(rng: _Rng, n: int) -> np.ndarray:
    x = rng.uniform(-2.0, 2.0, n)
    y = rng.random(n) - 2.0 * rng.integers(2, size=n) + np.floor(x) % 2
    return np.stack([x, y], 1)


def _eight_gaussians(rng: _Rng, n: int) -> np.ndarray:
    angle = 0.25 * np.pi * rng.integers(8, size=n)
    centres = 4.0 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return (centres + 0.5 * rng.standard_normal((n, 2))) / 1.414


def _two_spirals(rng: _Rng, n: int) -> np.ndarray:
    turn = np.sqrt(rng.random(n)) * 3.0 * np.pi
    arm = np.stack([-turn * np.cos(turn), turn * np.sin(turn)], 1)
    arm += 0.5 * rng.random((n, 2))
    side = rng.choice([-1.0, 1.0], n)[:, None]
    return side * arm / 3.0 + 0.1 * rng.standard_normal((n, 2))


_SETS: dict[str, Callable[[_Rng, int], np.ndarray]] = {
    "swiss roll": _swiss_roll,
    "moons": _moons,
    "checkerboard": _checkerboard,
    "8 gaussians": _eight_gaussians,
    "2 spirals": _two_spirals,
}
NAMES = tuple(_SETS)


def draw(name: str, n: int, rng: _Rng) -> np.ndarray:
    """Draws points float32 [n, 2] of a set in NAMES, scaled to |x| <= 0.85."""
    points = _SETS[name](rng, n)
    return (0.85 / np.abs(points).max() * points).astype(np.float32)
