"""Noise schedules beta_0..beta_{T-1} of the diffusion chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import gin
import numpy as np

from idql_tf.errors import check_count


def _steps(num_steps: int) -> np.ndarray:
    check_count("num_diffusion_steps", num_steps)
    return np.arange(1, num_steps + 1, dtype=np.float64)


@gin.configurable
def vp(
    num_steps: int, minimum_rate: float = 0.1, maximum_rate: float = 10.0
) -> np.ndarray:
    """Variance preserving: alpha_bar ends at exp(-5.05) whatever T is.

    Returns:
      beta, float64 [T].
    """
    t = _steps(num_steps)
    span = maximum_rate - minimum_rate
    exponent = minimum_rate / num_steps + 0.5 * span * (2 * t - 1) / num_steps**2
    return -np.expm1(-exponent)


@gin.configurable
def cosine(
    num_steps: int, offset: float = 0.008, maximum_beta: float = 0.999
) -> np.ndarray:
    """Cosine alpha_bar (Nichol and Dhariwal 2021). Returns beta, float64 [T]."""
    u = np.concatenate([[0.0], _steps(num_steps)]) / num_steps
    alpha_bar = np.cos((u + offset) / (1.0 + offset) * np.pi / 2.0) ** 2
    return np.clip(1.0 - alpha_bar[1:] / alpha_bar[:-1], 0.0, maximum_beta)


@gin.configurable
def linear(
    num_steps: int, first_beta: float = 1e-4, last_beta: float = 2e-2
) -> np.ndarray:
    """Equally spaced betas, not rescaled with T (so poor at few steps; Fig. 5).

    Returns:
      beta, float64 [T].
    """
    _steps(num_steps)
    return np.linspace(first_beta, last_beta, num_steps)


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """What corruption and reverse steps need of a schedule, float32 [T] each."""

    signal: np.ndarray  # sqrt(alpha_bar)
    noise: np.ndarray  # sqrt(1 - alpha_bar)
    reverse_scale: np.ndarray  # 1 / sqrt(alpha)
    reverse_noise: np.ndarray  # beta / sqrt(1 - alpha_bar)
    stddev: np.ndarray  # sqrt(beta)

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.signal)


def coefficients(beta: np.ndarray) -> Coefficients:
    """Derives the chain's coefficients from beta [T], in float64."""
    beta = np.asarray(beta, np.float64)
    alpha_bar = np.cumprod(1.0 - beta)
    values = (
        np.sqrt(alpha_bar),
        np.sqrt(1.0 - alpha_bar),
        1.0 / np.sqrt(1.0 - beta),
        beta / np.sqrt(1.0 - alpha_bar),
        np.sqrt(beta),
    )
    return Coefficients(*(v.astype(np.float32) for v in values))


Schedule = Callable[[int], np.ndarray]
