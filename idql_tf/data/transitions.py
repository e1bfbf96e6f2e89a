"""The one in-memory form of offline data: every observation stored once."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import Any

import numpy as np

from idql_tf.data import preprocessing
from idql_tf.data.scores import ScoreReference

_BLOCK_ROWS = 65_536
_ALIGNMENT_BYTES = 64  # what TensorFlow asks of memory it shares through dlpack


def aligned_empty(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Allocates an uninitialised, writable, 64-byte aligned C-ordered array."""
    dtype = np.dtype(dtype)
    num_bytes = math.prod(shape) * dtype.itemsize
    buffer = np.empty(num_bytes + _ALIGNMENT_BYTES, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT_BYTES
    return buffer[start : start + num_bytes].view(dtype).reshape(shape)


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What has to be known about a dataset after its arrays are gone.

    Attributes:
      dataset: the string the user gave, such as `minari:D4RL/door/human-v2`.
      sha256: hash of the loaded arrays' content.
      env_spec: JSON of the gymnasium EnvSpec to evaluate in, or None.
      observation_keys: dict keys in flattening order; () for plain arrays.
      observation_size: D, after flattening.
      action_low: lower action bounds [A], environment units; the number of the first
        of discrete actions, [1].
      action_high: upper action bounds [A], or the number of the last, [1].
      reference: returns that score 0 and 100, or None where unknown.
      num_episodes: number of episodes.
      discrete_actions: whether an action is one of A, stored as one-hot vector.
    """

    dataset: str
    sha256: str
    env_spec: str | None
    observation_keys: tuple[str, ...]
    observation_size: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    reference: ScoreReference | None
    num_episodes: int
    discrete_actions: bool = False

    @property
    def action_size(self) -> int:
        """A, the number of action dimensions, or of discrete actions."""
        if self.discrete_actions:
            return int(self.action_high[0] - self.action_low[0]) + 1
        return len(self.action_low)

    def to_env_action(self, actions: np.ndarray) -> np.ndarray:
        """Maps actions as in `Transitions` [..., A] to the environment's.

        Returns:
          float32 [..., A] within the bounds, or int64 [...] of discrete actions.
        """
        if self.discrete_actions:
            return preprocessing.from_one_hot(actions, self.action_low[0])
        return preprocessing.to_env_action(actions, self.action_low, self.action_high)

    def to_json(self) -> dict[str, Any]:
        """Returns a dict of plain JSON types; `from_json` reads it back."""
        return dataclasses.asdict(self) | {
            name: list(getattr(self, name))
            for name in ("observation_keys", "action_low", "action_high")
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DatasetInfo:
        """Builds the record from what `to_json` returned."""
        reference = values["reference"]
        return cls(
            **values
            | {
                "observation_keys": tuple(values["observation_keys"]),
                "action_low": tuple(values["action_low"]),
                "action_high": tuple(values["action_high"]),
                "reference": ScoreReference(**reference) if reference else None,
            }
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Transitions:
    """M transitions over R stored observations of D numbers, A-dim actions.

    Transition i goes from `rows[index[i]]` to `rows[index[i] + 1]`. After a
    true termination (mask 0) the next row may belong to another episode; its
    value is never used.

    Attributes:
      rows: observations, each once, float32 [R, D], 64-byte aligned.
      index: row of each transition's observation, int32 [M].
      actions: float32 [M, A] in [-(1 - 1e-5), 1 - 1e-5]; discrete ones one-hot.
      rewards: as in the source, float32 [M].
      masks: 1 - terminated, float32 [M]; 1 at a time-out.
      dones: last transition of its episode, bool [M].
      info: what is recorded about the dataset.
      problems: what validation found wrong, one line each; always empty
        unless loaded with `validate=False`.
    """

    rows: np.ndarray
    index: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    masks: np.ndarray
    dones: np.ndarray
    info: DatasetInfo
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def observations(self) -> np.ndarray:
        """Observations float32 [M, D]; a copy made at every access."""
        return self.rows[self.index]

    @property
    def next_observations(self) -> np.ndarray:
        """Next observations float32 [M, D]; a copy made at every access."""
        return self.rows[self.index + 1]

    @property
    def num_bytes(self) -> int:
        """Bytes held by the arrays."""
        return sum(array.nbytes for array in self._arrays().values())

    def episode_slices(self) -> list[slice]:
        """Returns one slice of transitions per episode."""
        ends = np.flatnonzero(self.dones) + 1
        starts = np.concatenate([[0], ends[:-1]])
        return [slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]

    def episode_returns(self) -> np.ndarray:
        """Returns the undiscounted raw return of each episode, float64 [E]."""
        starts = np.flatnonzero(np.append(True, self.dones[:-1]))
        return np.add.reduceat(self.rewards, starts, dtype=np.float64)

    def episode_lengths(self) -> np.ndarray:
        """Returns the number of transitions of each episode, int64 [E]."""
        return np.diff(np.flatnonzero(self.dones), prepend=-1)

    def observation_statistics(self) -> dict[str, list[float]]:
        """Minimum, maximum, mean and standard deviation of every observation number."""
        total = np.zeros((2, self.rows.shape[1]))
        # By blocks: the squares of all rows at once would double the memory.
        for start in range(0, len(self.rows), _BLOCK_ROWS):
            block = self.rows[start : start + _BLOCK_ROWS].astype(np.float64)
            total += block.sum(0), np.square(block).sum(0)
        mean, square = total / len(self.rows)
        found = {
            "minimum": self.rows.min(0),
            "maximum": self.rows.max(0),
            "mean": mean,
            "stddev": np.sqrt(np.maximum(square - np.square(mean), 0.0)),
        }
        return {name: values.astype(float).tolist() for name, values in found.items()}

    def _arrays(self) -> dict[str, np.ndarray]:
        names = ("rows", "index", "actions", "rewards", "masks", "dones")
        return {name: getattr(self, name) for name in names}


def content_hash(**arrays: np.ndarray) -> str:
    """Returns the SHA-256 over names, shapes, dtypes and bytes of the arrays."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.reshape(-1).data)
    return digest.hexdigest()
