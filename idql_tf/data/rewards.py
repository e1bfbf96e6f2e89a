"""Named reward rules, the same offline and online."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from idql_tf.data.transitions import Transitions
from idql_tf.errors import UserError

NAMES = ("none", "locomotion_return_scale", "antmaze_minus_one")

_Reward = TypeVar("_Reward", float, np.ndarray)


@dataclass(frozen=True)
class RewardRule:
    """An affine map of rewards: r -> scale r + offset.

    Attributes:
      name: one of `NAMES`.
      scale: factor.
      offset: what is added after scaling.
    """

    name: str
    scale: float
    offset: float

    def __call__(self, rewards: _Reward) -> _Reward:
        """Applies the rule to one reward or an array; float32 stays float32."""
        return rewards * self.scale + self.offset


def resolve(name: str, transitions: Transitions) -> RewardRule:
    """Makes the named rule for a dataset.

    `none` leaves rewards alone; `locomotion_return_scale` multiplies them by
    1000 / (largest - smallest episode return), which the IDQL paper calls
    standardising; `antmaze_minus_one` subtracts 1, giving {-1, 0}.

    Raises:
      UserError: no such rule, or all episodes have the same return.
    """
    if name == "none":
        return RewardRule(name, 1.0, 0.0)
    if name == "antmaze_minus_one":
        return RewardRule(name, 1.0, -1.0)
    if name != "locomotion_return_scale":
        raise UserError(
            f"unknown reward rule '{name}'; expected one of {', '.join(NAMES)}; "
            f"correct the binding"
        )
    returns = transitions.episode_returns()
    spread = float(returns.max() - returns.min())
    if not np.isfinite(spread) or spread <= 0.0:
        raise UserError(
            f"reward rule '{name}' divides by the spread of episode returns, which "
            f"is {spread:g} over {len(returns)} episodes; expected a positive one; "
            f"choose the rule 'none'"
        )
    return RewardRule(name, 1000.0 / spread, 0.0)
