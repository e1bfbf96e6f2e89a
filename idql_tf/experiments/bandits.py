"""One state: V of given Q values, and the implicit actor (IDQL section 4)."""

from __future__ import annotations

import numpy as np

from idql_tf.critic.objectives import Objective


def implicit_value(objective: Objective, q: np.ndarray) -> float:
    """The V that minimises the mean of f(q - V) over samples q [n] (IDQL eq. 7).

    By bisection on the mean of f'(q - V), which falls from above zero at the least q
    to below it at the largest.
    """
    low, high = float(np.min(q)), float(np.max(q))
    for _ in range(60):
        middle = 0.5 * (low + high)
        if np.mean(objective.gradient(q - middle)) > 0.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def implicit_actor(objective: Objective, q: np.ndarray) -> tuple[float, np.ndarray]:
    """V and the implicit actor's probabilities of the samples [n] (IDQL eq. 8-12)."""
    value = implicit_value(objective, q)
    weights = np.asarray(objective.implicit_weight(q - value))
    return value, weights / weights.sum()
