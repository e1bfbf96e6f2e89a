"""Writes episodes as a Minari 0.5 dataset, without Minari's need for jax."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import tempfile
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

# What HDF5 and Minari add to an episode's numbers, with room to spare: 14 KB measured.
_EPISODE_BYTES = 32 * 1024


@dataclasses.dataclass(frozen=True)
class Episode:
    """One episode of T steps: T + 1 observations, the rest [T, ...].

    Observations are [T + 1, D], or a dict of such; actions are float [T, A] in [-1, 1],
    or integers [T] of the environment's discrete space.
    """

    seed: int
    observations: np.ndarray | dict[str, np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray


def dataset_id(path: pathlib.Path) -> str:
    """`runs/data/maze2d/umaze-v0` -> `maze2d/umaze-v0`, as Minari spells ids."""
    from minari.dataset.minari_dataset import DATASET_ID_RE

    path = path.absolute()
    name = path.name if re.search(r"-v\d+$", path.name) else f"{path.name}-v0"
    for candidate in (f"{path.parent.name}/{name}", name):
        match = DATASET_ID_RE.fullmatch(candidate)
        if match and match.group("version"):
            return candidate
    return "maze2d-v0"


def write(
    directory: pathlib.Path,
    spec: EnvSpec,
    episodes: list[Episode],
    metadata: dict[str, Any],
    action_space: gymnasium.spaces.Discrete | None = None,
) -> None:
    """Writes the episodes in Minari's HDF5 form (without its need for jax)."""
    import minari
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    _try_space(directory, episodes)
    first = episodes[0]
    storage = MinariStorage.new(
        directory / "data",
        observation_space=_observation_space(first.observations),
        action_space=action_space or _box(first.actions, 1.0),
        env_spec=spec,
    )
    storage.update_metadata(
        metadata
        | {
            "author": {"idql_tf"},
            "minari_version": minari.__version__,
            "eval_env_spec": spec.to_json(),
            "num_episodes_average_score": 100,
        }
    )
    storage.update_episodes(EpisodeBuffer(**vars(episode)) for episode in episodes)
    storage.update_episode_metadata([_statistics(episode) for episode in episodes])


def _try_space(directory: pathlib.Path, episodes: list[Episode]) -> None:
    """Takes the room that the file will need, and gives it back.

    HDF5 crashes the program when it closes a file that the disk has no room for.

    Raises:
      OSError: there is not enough.
    """
    with tempfile.TemporaryFile(dir=directory) as file:
        os.posix_fallocate(file.fileno(), 0, most_bytes(episodes))


def most_bytes(episodes: list[Episode]) -> int:
    """What the episodes' file takes at most."""
    most = 0
    for episode in episodes:
        seen = episode.observations
        parts = list(seen.values()) if isinstance(seen, dict) else [seen]
        parts += [episode.actions, episode.rewards]
        parts += [episode.terminations, episode.truncations]
        most += sum(part.nbytes for part in parts) + _EPISODE_BYTES
    return most


def _observation_space(
    observations: np.ndarray | dict[str, np.ndarray],
) -> gymnasium.spaces.Space:
    if isinstance(observations, dict):
        parts = {key: _box(values, np.inf) for key, values in observations.items()}
        return gymnasium.spaces.Dict(parts)
    return _box(observations, np.inf)


def _box(values: np.ndarray, bound: float) -> gymnasium.spaces.Box:
    """The space of the rows of `values`."""
    return gymnasium.spaces.Box(-bound, bound, values.shape[1:], np.float32)


def _statistics(episode: Episode) -> dict[str, float]:
    names = ("sum", "mean", "std", "max", "min")
    return {f"rewards_{n}": float(getattr(episode.rewards, n)()) for n in names}
