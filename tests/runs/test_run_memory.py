"""Peak memory of loading and training, beside the bytes of the data."""

import subprocess
import sys

import h5py
import numpy as np
import pytest
from paths import REPOSITORY

OBSERVATION, ACTION = 111, 8

SCRIPT = """
import resource, sys
sys.path[:0] = [{root!r}, {tests!r}]
from idql_tf import config, data
from idql_tf.data import rewards
from idql_tf.quiet import import_quietly
from idql_tf.training import arrays
from idql_tf.training.learner import IdqlLearner

import_quietly()
config.load([], ["IdqlLearner.xla = False"])
loaded = data.load("d4rl:{path}")
rule = rewards.resolve("locomotion_return_scale", loaded)
placed = arrays.to_device(loaded, rule, 0.05)
del loaded
learner = IdqlLearner({observation}, {action}, (0,))
learner.train(placed, 5, 5)
learner.validate(placed)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def _write(path, size, episode=1_000):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        shape = (size, OBSERVATION)
        rows = file.create_dataset("observations", shape, np.float32)
        for start in range(0, size, 50_000):
            stop = min(size, start + 50_000)
            rows[start:stop] = rng.normal(size=(stop - start, OBSERVATION))
        file["actions"] = rng.uniform(-1, 1, (size, ACTION)).astype(np.float32)
        file["rewards"] = rng.normal(size=size).astype(np.float32)
        file["terminals"] = np.zeros(size, bool)
        file["timeouts"] = np.arange(size) % episode == episode - 1


def _peak(path):
    script = SCRIPT.format(
        root=str(REPOSITORY),
        tests=str(REPOSITORY / "tests"),
        path=path,
        observation=OBSERVATION,
        action=ACTION,
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr
    return int(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "size",
    [pytest.param(size, marks=pytest.mark.slow) for size in (200_000, 1_000_000)],
)
def test_peak_is_below_1_6_times_the_data(tmp_path, size):
    _write(tmp_path / "small.hdf5", 5_000)
    _write(tmp_path / "large.hdf5", size)
    base = _peak(tmp_path / "small.hdf5")
    added = _peak(tmp_path / "large.hdf5") - base
    data = size * 4 * (OBSERVATION + ACTION + 1) + size
    print(f"peak {added / data:.2f} x data, TensorFlow and code {base / 2**20:.0f} MiB")
    assert added < 1.6 * data
