"""Minari datasets: HDF5, one group per episode, T + 1 observations for T actions."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from gymnasium import spaces

from idql_tf.data import hdf5, minari_metadata
from idql_tf.data.columns import Column
from idql_tf.data.environment_spaces import action_bounds
from idql_tf.data.preprocessing import key_order
from idql_tf.data.progress import slow_progress
from idql_tf.data.scores import reference_for
from idql_tf.data.source import SourceData
from idql_tf.data.transitions import aligned_empty
from idql_tf.errors import UserError

_PARTS = ("actions", "rewards", "terminations", "truncations")


def load(
    name: str,
    observation_keys: Sequence[str] | None = None,
    allow_external_links: bool = False,
) -> SourceData:
    """Reads a Minari dataset, downloading it if it is not here.

    Terminations and truncations are the dataset's own; an episode that ends
    with neither counts as a time-out.

    Args:
      name: an ID such as `D4RL/door/human-v2` (MINARI_DATASETS_PATH is
        honoured), or the path of a dataset's folder.
      observation_keys: keys of dict observations to use, in order.
      allow_external_links: whether HDF5 links to any file are followed, not only
        those to datasets of the same root, or beside a folder given by path.

    Raises:
      UserError: the dataset is not to be had, is damaged, has observations other
        than continuous vectors or actions of another kind than vectors and numbers
        of a Discrete space, breaks the T + 1 rule, or links to files that it should
        not read.
    """
    folder, root = minari_metadata.locate(name)
    metadata = minari_metadata.read(folder)
    if allow_external_links:
        root = pathlib.Path("/")
    space, where = metadata["observation_space"], f"minari:{name}"
    keys = _keys(space, observation_keys, where)
    bounds = action_bounds(metadata["action_space"], where)
    with hdf5.opened(folder / "data" / "main_data.hdf5", root) as tree:
        lengths = _episode_lengths(tree, metadata["total_episodes"], keys, where)
        arrays = _read(tree, lengths, keys, _widths(space, keys), len(bounds.low))
    row_starts = np.cumsum(lengths + 1) - lengths - 1
    step_starts = np.cumsum(lengths) - lengths
    return SourceData(
        **arrays,
        locate_row=lambda row: _locate(row, row_starts, "observation"),
        locate_transition=lambda i: _locate(i, step_starts, "step"),
        action_bounds=bounds,
        integer_actions=bounds.discrete,
        env_spec=metadata["env_spec"],
        observation_keys=keys,
        reference=reference_for(metadata=metadata),
    )


def _keys(
    space: spaces.Space, wanted: Sequence[str] | None, where: str
) -> tuple[str, ...]:
    """Decides the flattening order and checks that it gives vectors."""
    keys: tuple[str, ...] = ()
    parts = {"observations": space}
    if isinstance(space, spaces.Dict):
        keys = key_order(list(space.spaces), wanted)
        parts = {key: space.spaces[key] for key in keys}
    elif wanted is not None:
        key_order((), wanted)
    for name, part in parts.items():
        if (
            not isinstance(part, spaces.Box)
            or len(part.shape) != 1
            or not part.shape[0]
        ):
            raise UserError(
                f"{where}: '{name}' is {part}; expected a Box of one dimension, "
                f"not empty; choose other load_dataset.observation_keys or flatten the "
                f"data"
            )
    return keys


def _widths(space: Any, keys: tuple[str, ...]) -> list[int]:
    """Returns the width of each part of an observation, in order."""
    return [space[key].shape[0] for key in keys] if keys else [space.shape[0]]


def _columns(
    tree: hdf5.Tree, episode: h5py.Group, keys: tuple[str, ...]
) -> list[Column]:
    """Returns the parts of an episode's observations, in order."""
    parts = [f"observations/{key}" for key in keys] or ["observations"]
    return [tree.column(part, episode) for part in parts]


def _episode_lengths(
    tree: hdf5.Tree, num_episodes: int, keys: tuple[str, ...], where: str
) -> np.ndarray:
    """Counts the actions of every episode, int64 [E], and checks alignment."""
    if not num_episodes:
        raise UserError(f"{where} has no episodes; expected at least 1; collect data")
    lengths = np.zeros(num_episodes, np.int64)
    for i in range(num_episodes):
        try:
            episode = tree.find(f"episode_{i}")
            columns = _columns(tree, episode, keys)
            columns += [tree.column(part, episode) for part in _PARTS]
            counts = {column.name: column.shape[0] for column in columns}
        except KeyError as error:
            raise UserError(
                f"{where}: episode {i} cannot be opened ({error.args[0]}); a combined "
                f"dataset needs the ones it links to beside it; copy those too, or "
                f"download it again"
            ) from error
        lengths[i] = counts.pop("actions")
        _check_alignment(counts, int(lengths[i]), f"{where}: episode {i}")
    return lengths


def _check_alignment(counts: dict[str, int], actions: int, episode: str) -> None:
    """Checks that one episode has T + 1 observations and T of all else."""
    if not actions:
        raise UserError(
            f"{episode} has 0 actions; expected at least 1; delete the episode"
        )
    for name, count in counts.items():
        if name.startswith("observations") and count != actions + 1:
            raise UserError(
                f"{episode} has {count} {name} for {actions} actions; Minari stores "
                f"T + 1 = {actions + 1}; add the observation after the last action, "
                f"or drop the last action, reward and flags"
            )
        if not name.startswith("observations") and count != actions:
            raise UserError(
                f"{episode} has {count} {name} for {actions} actions; expected "
                f"{actions}; repair the episode"
            )


def _read(
    tree: hdf5.Tree,
    lengths: np.ndarray,
    keys: tuple[str, ...],
    widths: list[int],
    action_size: int,
) -> dict[str, np.ndarray]:
    """Fills the preallocated arrays of `SourceData`, one episode at a time."""
    total, num_episodes = int(lengths.sum()), len(lengths)
    rows = aligned_empty((total + num_episodes, sum(widths)))
    actions = aligned_empty((total, action_size))
    rewards, masks = aligned_empty((total,)), aligned_empty((total,))
    dones = np.empty(total, bool)
    row = step = 0
    with slow_progress("reading episodes", num_episodes) as advance:
        for i, length in enumerate(lengths.tolist()):
            episode, steps = tree.find(f"episode_{i}"), slice(step, step + length)
            left = 0
            parts = _columns(tree, episode, keys)
            for column, width in zip(parts, widths, strict=True):
                column.fill(rows[row : row + length + 1, left : left + width])
                left += width
            action, reward, *flags = (tree.column(part, episode) for part in _PARTS)
            action.fill(actions[steps])
            reward.fill(rewards[steps])
            terminated, truncated = (column.flags() for column in flags)
            masks[steps] = 1 - terminated.astype(np.float32)
            dones[steps] = terminated | truncated
            dones[step + length - 1] = True
            row, step = row + length + 1, step + length
            advance(1)
    index = np.arange(total, dtype=np.int32)
    index += np.repeat(np.arange(num_episodes, dtype=np.int32), lengths)
    return {
        "rows": rows,
        "index": index,
        "actions": actions,
        "rewards": rewards,
        "masks": masks,
        "dones": dones,
    }


def _locate(position: int, starts: np.ndarray, noun: str) -> str:
    episode = int(np.searchsorted(starts, position, "right")) - 1
    return f"row {position} (episode {episode}, {noun} {position - starts[episode]})"
