"""Loading must not hold the observations twice, measured in a fresh process."""

import json
import subprocess
import sys

import gymnasium
import h5py
import numpy as np
import pytest
from minari.serialization import serialize_space

EPISODES, STEPS, OBSERVATION_SIZE, ACTION_SIZE = 200, 1000, 111, 8

_CHILD = """
import sys
import minari
from idql_tf import data

def peak_kib():
    with open("/proc/self/status") as status:
        return next(int(l.split()[1]) for l in status if l.startswith("VmHWM"))

before = peak_kib()
transitions = data.load(sys.argv[1])
print(1024 * (peak_kib() - before), transitions.num_bytes)
"""


def step_arrays(num_steps):
    random = np.random.default_rng(0)
    arrays = {
        "actions": random.uniform(-1, 1, (num_steps, ACTION_SIZE)),
        "rewards": random.normal(size=num_steps),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def write_minari(folder):
    """Writes the layout by hand: minari's writer is much slower."""
    data = folder / "data"
    data.mkdir()
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for i in range(EPISODES):
            episode = file.create_group(f"episode_{i}")
            for name, array in step_arrays(STEPS).items():
                episode[name] = array
            episode["observations"] = np.full(
                (STEPS + 1, OBSERVATION_SIZE), i, np.float32
            )
            episode["terminations"] = np.zeros(STEPS, bool)
            episode["truncations"] = np.arange(STEPS) == STEPS - 1
    spaces = {
        "observation_space": gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION_SIZE,)),
        "action_space": gymnasium.spaces.Box(-1, 1, (ACTION_SIZE,)),
    }
    metadata = {name: serialize_space(space) for name, space in spaces.items()} | {
        "total_episodes": EPISODES,
        "total_steps": EPISODES * STEPS,
        "data_format": "hdf5",
        "dataset_id": "large/fixture-v0",
        "minari_version": "0.5.3",
    }
    (data / "metadata.json").write_text(json.dumps(metadata))
    return f"minari:{folder}"


def flat_arrays():
    num_steps = EPISODES * STEPS
    observations = np.arange(num_steps, dtype=np.float32)[:, None]
    return step_arrays(num_steps) | {
        "observations": np.repeat(observations, OBSERVATION_SIZE, axis=1),
        "terminals": np.zeros(num_steps, bool),
        "timeouts": np.arange(num_steps) % STEPS == STEPS - 1,
    }


def write_d4rl(folder):
    with h5py.File(folder / "data.hdf5", "w") as file:
        for name, array in flat_arrays().items():
            file[name] = array
    return f"d4rl:{folder / 'data.hdf5'}"


def write_npz(folder):
    arrays = flat_arrays()
    following = arrays["observations"] + 1
    np.savez(folder / "data.npz", **arrays, next_observations=following)
    return f"npz:{folder / 'data.npz'}"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("write", [write_minari, write_d4rl, write_npz])
def test_peak_is_below_1_3_times_the_arrays(tmp_path, write):
    dataset = write(tmp_path)
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, dataset],
        capture_output=True,
        text=True,
        check=True,
    )
    peak, held = map(int, child.stdout.split())
    minimum = 4 * EPISODES * STEPS * (OBSERVATION_SIZE + ACTION_SIZE + 2)
    assert minimum <= held + 5 * EPISODES * 4 * OBSERVATION_SIZE
    assert peak < 1.3 * minimum
