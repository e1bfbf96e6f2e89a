"""Small datasets in every layout, whose numbers say where they belong."""

import pathlib
import warnings

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer


@pytest.fixture
def write_minari(tmp_path, monkeypatch):
    """Writes a Minari dataset of given episode ends; returns (name, HDF5 path).

    Observation t of episode e is [100 e + t, -(100 e + t)] (or a dict with it),
    action t is (t + 1) / 100 in both dimensions, reward t is t.
    """
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))

    def write(ends, lengths, goal=False, action_space=None, env_id=None, **kwargs):
        buffers = []
        for episode, (end, length) in enumerate(zip(ends, lengths, strict=True)):
            time = 100 * episode + np.arange(length + 1, dtype=np.float32)
            flags = np.zeros((2, length), bool)
            if end is not None:
                flags[("terminated", "truncated").index(end), -1] = True
            observations = np.stack([time, -time], axis=1)
            if goal:
                observations = {
                    "achieved_goal": observations + 0.25,
                    "desired_goal": observations + 0.75,
                    "observation": observations,
                }
            action = np.arange(1, length + 1, dtype=np.float32)[:, None] / 100
            buffers.append(
                EpisodeBuffer(
                    id=episode,
                    observations=observations,
                    actions=np.repeat(action, 2, axis=1),
                    rewards=np.arange(length, dtype=np.float32),
                    terminations=flags[0],
                    truncations=flags[1],
                )
            )
        box = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
        keys = ("achieved_goal", "desired_goal", "observation")
        warnings.filterwarnings("ignore", module="minari")
        minari.create_dataset_from_buffers(
            "tiny/fixture-v0",
            buffers,
            env=env_id,
            observation_space=gymnasium.spaces.Dict(dict.fromkeys(keys, box))
            if goal
            else box,
            action_space=action_space or gymnasium.spaces.Box(-2, 2, (2,)),
            **kwargs,
        )
        path = tmp_path / "tiny" / "fixture-v0" / "data" / "main_data.hdf5"
        return "minari:tiny/fixture-v0", path

    return write


def flat_arrays(num_rows: int = 12) -> dict[str, np.ndarray]:
    """Arrays of D4RL's kind: terminal at row 3, time-out at row 7."""
    time = np.arange(num_rows, dtype=np.float32)
    terminals, timeouts = np.zeros((2, num_rows), bool)
    terminals[3] = timeouts[7] = True
    return {
        "observations": np.stack([time, -time], axis=1),
        "actions": np.stack([time, time], axis=1) / 100,
        "rewards": time,
        "terminals": terminals,
        "timeouts": timeouts,
    }


def write_hdf5(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> str:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip")
    return f"d4rl:{path}"


def write_npz(path: pathlib.Path, arrays: dict[str, np.ndarray], kind="npz") -> str:
    np.savez_compressed(path, **arrays)
    return f"{kind}:{path}"


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    return flat_arrays()


@pytest.fixture
def save(tmp_path):
    """Writes flat arrays in a layout; returns the dataset string."""

    def save_as(kind: str, arrays: dict[str, np.ndarray]) -> str:
        if kind == "d4rl":
            return write_hdf5(tmp_path / "data.hdf5", arrays)
        return write_npz(tmp_path / "data.npz", arrays, kind)

    return save_as
