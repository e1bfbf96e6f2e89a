"""The C++ example, built and run by the two commands of its own header."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from exporting import observations
from paths import REPOSITORY

if sys.platform != "linux":
    pytest.skip("the example's build command is Linux's", allow_module_level=True)
if shutil.which("g++") is None:
    pytest.skip("no C++ compiler: g++ is not on PATH", allow_module_level=True)

import tensorflow as tf  # noqa: E402

pytestmark = pytest.mark.slow
SOURCE = REPOSITORY / "docs" / "examples" / "act.cc"
# No PYTHONPATH, no LD_LIBRARY_PATH, no virtual environment.
BARE = {"PATH": os.defpath, "CUDA_VISIBLE_DEVICES": ""}
GAIN = np.array([[1.0, -0.5], [0.25, 2.0], [-3.0, 0.125]], np.float32)
OFFSET = np.array([0.3, -0.7], np.float32)


def expected(observation):
    action = np.tanh(observation @ GAIN + OFFSET)
    return action, 10.0 + action.sum(), 20.0 + np.sum(observation)


class ToyPolicy(tf.Module):
    """The exported model's two signatures, and one with a name that sorts first."""

    def __init__(self):
        super().__init__()
        self.gain = tf.Variable(GAIN)
        self.offset = tf.Variable(OFFSET)

    @tf.function(jit_compile=True)
    def squash(self, observation):
        return tf.tanh(observation @ self.gain + self.offset)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], name="observation")])
    def act(self, observation):
        action = self.squash(observation)
        return {
            "value": 20.0 + tf.reduce_sum(observation, axis=1),
            "q_value": 10.0 + tf.reduce_sum(action, axis=1),
            "action": action,
        }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 3], name="observation"),
            tf.TensorSpec([], tf.int32, name="num_candidates"),
            tf.TensorSpec([], tf.float32, name="temperature"),
            tf.TensorSpec([], tf.int64, name="seed"),
        ]
    )
    def sample(self, observation, num_candidates, temperature, seed):
        shape = [num_candidates, tf.shape(observation)[0]]
        noise = temperature * tf.random.stateless_normal(shape, [seed, seed])
        spread = tf.math.reduce_std(noise, axis=0)
        return dict(self.act(observation), action_spread=spread)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], name="observation")])
    def wrong(self, observation):
        zeros = tf.zeros_like(observation)
        return {"action": zeros, "q_value": zeros[:, 0], "value": zeros[:, 0]}


def save(folder, **signatures):
    model = ToyPolicy()
    functions = {key: getattr(model, name) for key, name in signatures.items()}
    tf.saved_model.save(model, str(folder), signatures=functions)


def header_commands():
    """The indented blocks of the source's first comment: build, run."""
    header = SOURCE.read_text(encoding="utf-8").split("*/")[0]
    blocks = re.findall(r"(?:^    .+\n)+", header, flags=re.MULTILINE)
    build, run = blocks  # Still indented, as they would be pasted.
    return build, run


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> pathlib.Path:
    """A folder with docs/, the built act and a SavedModel `exported`."""
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "docs").symlink_to(REPOSITORY / "docs")
    python_first = f"{pathlib.Path(sys.executable).parent}{os.pathsep}"
    done = subprocess.run(
        ["bash", "-c", header_commands()[0]],
        cwd=folder,
        env=dict(os.environ, PATH=python_first + os.environ["PATH"]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    save(folder / "exported", action="wrong", sample="sample", serving_default="act")
    return folder


def act(bench, *arguments):
    return subprocess.run(
        ["./act", *arguments], cwd=bench, env=BARE, capture_output=True, text=True
    )


def check_printed(done, observation):
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    printed = json.loads(line)
    assert list(printed) == ["action", "q_value", "value"]
    for found, wanted in zip(printed.values(), expected(observation), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)


def test_documented_run_prints_the_models_numbers(bench):
    command = header_commands()[1]
    done = subprocess.run(
        ["bash", "-c", command], cwd=bench, env=BARE, capture_output=True, text=True
    )
    check_printed(done, np.array([0.1, -0.2, 0.3], np.float32))
    assert re.search(r"median of 200 calls: [1-9]\d* microseconds\n\Z", done.stderr)


def test_other_observation(bench):
    check_printed(act(bench, "exported", "-1", "2e-1", ".5"), [-1.0, 0.2, 0.5])


def test_the_exported_model_of_a_run(bench, exported, policy):
    rows = observations(1)
    done = act(bench, str(exported.folder), *map(str, rows[0]))
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    action = np.float32([printed["action"]])
    assert action.shape == (1, 2) and (np.abs(action) <= 1).all()
    q_value, value = policy.q_value(rows, action), policy.select(rows).value
    np.testing.assert_allclose(printed["q_value"], q_value[0], atol=1e-4)
    np.testing.assert_allclose(printed["value"], value[0], atol=1e-5)


@pytest.mark.parametrize("numbers", [["1", "2"], ["1", "2", "3", "4"]])
def test_wrong_number_of_observations(bench, numbers):
    done = act(bench, "exported", *numbers)
    assert (done.returncode, done.stdout) == (1, "")
    wanted = f"act: found {len(numbers)} numbers for the observation"
    assert f"{wanted}, the model expects 3\n" in done.stderr


def test_missing_folder(bench):
    done = act(bench, "nowhere", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "act: cannot load nowhere: Could not find SavedModel" in done.stderr


def test_model_without_serving_default(bench):
    save(bench / "partial", action="wrong")
    done = act(bench, "partial", "1", "2", "3")
    assert (done.returncode, done.stdout) == (1, "")
    assert "act: partial has no signature serving_default\n" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["exported"]])
def test_too_few_arguments(bench, arguments):
    done = act(bench, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: act MODEL_DIR NUMBER [NUMBER ...]\n" in done.stderr


@pytest.mark.parametrize("text", ["1,5", "nan"])
def test_not_a_number(bench, text):
    done = act(bench, "exported", "1", text, "3")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"act: not a finite number: '{text}'\n" in done.stderr
