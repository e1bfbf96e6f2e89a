"""What a collector has made: a new Minari dataset, and how good it is."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from idql_tf.data import scores
from idql_tf.environments import minari_writer


@dataclasses.dataclass(frozen=True)
class Collected:
    """What was written, and where.

    Attributes:
      path: the dataset directory.
      dataset_id: Minari's name for it, below the directory `root`.
      returns: undiscounted return of each episode, float64 [episodes].
      num_steps: transitions written.
      reference: returns that score 0 and 100.
    """

    path: pathlib.Path
    dataset_id: str
    returns: np.ndarray
    num_steps: int
    reference: scores.ScoreReference

    def describe(self) -> str:
        """Lines for a terminal: what is there and what to type next."""
        score = scores.normalize(self.returns.mean(), self.reference)
        lines = [
            f"wrote {self.path}",
            f"{self.num_steps:,} steps in {len(self.returns)} episodes; return "
            f"{self.returns.mean():.1f} +- {self.returns.std():.1f}, largest "
            f"{self.returns.max():.0f}",
            f"score of the data {score:.1f} ({self.reference.source})",
            f"train on it with --dataset minari:{self.path}",
        ]
        path = str(self.path.absolute())
        if path.endswith(f"/{self.dataset_id}"):
            root = path.removesuffix(f"/{self.dataset_id}") or "/"
            lines.append(
                f"or, through Minari's own search path, MINARI_DATASETS_PATH={root} "
                f"and --dataset minari:{self.dataset_id}"
            )
        return "\n".join(lines)


def save(
    partial: pathlib.Path,
    path: pathlib.Path,
    spec: EnvSpec,
    episodes: Sequence[minari_writer.Episode],
    reference: scores.ScoreReference,
    metadata: dict[str, str],
    action_space: gymnasium.spaces.Discrete | None = None,
) -> Collected:
    """Writes episodes with their environment and reference scores.

    Args:
      partial: where they are written now.
      path: where they will be: its last two names become the dataset id.
      spec: of the environment.
      episodes: at least one.
      reference: returns that score 0 and 100.
      metadata: `algorithm_name` and `description`.
      action_space: of integer actions; None for actions in [-1, 1].
    """
    name = minari_writer.dataset_id(path)
    found = {
        "dataset_id": name,
        "ref_min_score": reference.minimum,
        "ref_max_score": reference.maximum,
    }
    minari_writer.write(partial, spec, list(episodes), metadata | found, action_space)
    returns = np.array([episode.rewards.sum(dtype=np.float64) for episode in episodes])
    steps = sum(len(episode.actions) for episode in episodes)
    return Collected(path, name, returns, steps, reference)
