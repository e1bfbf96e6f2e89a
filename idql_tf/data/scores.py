"""Normalised scores, each with the origin of its reference returns."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ScoreReference:
    """Returns that score 0 (`minimum`) and 100 (`maximum`), and their source."""

    minimum: float
    maximum: float
    source: str


# Environment name without its version -> (D4RL family, minimum, maximum), from
# D4RL's infos.py (the "v2" references; Fu et al. 2020, arXiv 2004.07219).
_D4RL: dict[str, tuple[str, float, float]] = {
    "Hopper": ("hopper", -20.272305, 3234.3),
    "HalfCheetah": ("halfcheetah", -280.178953, 12135.0),
    "Walker2d": ("walker2d", 1.629008, 4592.3),
    "Ant": ("ant", -325.6, 3879.7),
    "PointMaze_UMaze": ("maze2d-umaze", 23.85, 161.86),
    "PointMaze_Medium": ("maze2d-medium", 13.13, 277.39),
    "PointMaze_Large": ("maze2d-large", 6.7, 273.99),
    "AdroitHandDoor": ("door", -56.512833, 2880.5693087298737),
    "AdroitHandHammer": ("hammer", -274.856578, 12794.134825156867),
    "AdroitHandPen": ("pen", 96.262799, 3076.8331017826877),
    "AdroitHandRelocate": ("relocate", -6.425911, 4233.877797728884),
}


def environment_name(env_id: str) -> str:
    """Returns an environment id without its version: `Hopper-v4` -> `Hopper`."""
    return re.sub(r"-v\d+$", "", env_id)


def _d4rl_reference(env_id: str, kwargs: Mapping[str, Any]) -> ScoreReference | None:
    name = environment_name(env_id)
    continuing = kwargs.get("continuing_task", True)
    sparse = kwargs.get("reward_type", "sparse") == "sparse"
    if name.startswith("AntMaze_"):
        # D4RL's episodes end at the goal. Those of the plain id go on and pay for
        # every step there.
        if continuing or not sparse or "Dense" in name:
            return None
        return ScoreReference(0.0, 1.0, "D4RL v2 reference for antmaze")
    if name not in _D4RL:
        return None
    # D4RL pays for every step at one fixed goal. The plain ids draw their goals.
    if name.startswith("PointMaze_") and not (
        continuing and sparse and _has_one_goal(kwargs.get("maze_map", ()))
    ):
        return None
    family, minimum, maximum = _D4RL[name]
    return ScoreReference(minimum, maximum, f"D4RL v2 reference for {family}")


def _has_one_goal(maze_map: Sequence[Sequence[int | str]]) -> bool:
    """Whether a map marks one goal cell, "g", and none that may be one, "c"."""
    cells = [cell for row in maze_map for cell in row]
    return cells.count("g") == 1 and "c" not in cells


def reference_for(
    env_id: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> ScoreReference | None:
    """Looks up the returns that score 0 and 100.

    Args:
      env_id: id of the evaluation environment, such as `Hopper-v4`.
      kwargs: the arguments in its EnvSpec. They decide which task a maze is:
        D4RL's references hold for ant mazes with `continuing_task=False` and
        for point mazes with exactly one goal cell in `maze_map`.
      metadata: the dataset's own metadata; its `ref_min_score` and
        `ref_max_score` win where both are there.

    Returns:
      The reference with its provenance, or None where nobody knows one.
    """
    try:
        minimum, maximum = (
            float((metadata or {})[name]) for name in ("ref_min_score", "ref_max_score")
        )
        if maximum > minimum and math.isfinite(maximum - minimum):
            return ScoreReference(minimum, maximum, "from the dataset's metadata")
    except (KeyError, OverflowError, TypeError, ValueError):
        pass  # None is recorded, or what is recorded are no numbers.
    try:
        return _d4rl_reference(env_id, kwargs or {}) if env_id else None
    except (AttributeError, TypeError):  # A map that is none: no known task.
        return None


def normalize(
    returns: np.ndarray | float, reference: ScoreReference
) -> np.ndarray | float:
    """Maps raw returns to scores: 100 (R - minimum) / (maximum - minimum)."""
    span = reference.maximum - reference.minimum
    return 100.0 * (returns - reference.minimum) / span
