"""The exported model in a process that can import TensorFlow and nothing of ours."""

import subprocess
import sys

import exporting
import numpy as np
import pytest
import tensorflow as tf
from exporting import BATCHES, FEW_STEPS, observations

SEED = 11

FRESH = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    NAMES = {"idql_tf", "tf_agents", "tensorflow_probability", "reverb", "gin",
             "gymnasium"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.NAMES:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Absent())
import numpy as np
import tensorflow as tf

folder, other, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
signatures = tf.saved_model.load(folder).signatures
found = {}
for name, rows in np.load("inputs.npz").items():
    plain = {"num_candidates": 0, "temperature": 0.0, "seed": seed}
    calls = {
        "sample": signatures["sample"](observation=tf.constant(rows), **plain),
        "float64": signatures["sample"](observation=rows.astype(np.float64), **plain),
        "default": signatures["serving_default"](observation=tf.constant(rows)),
        "again": signatures["serving_default"](observation=rows.astype(np.float64)),
        "dict": signatures["dict"](observation=rows[:, :4], desired_goal=rows[:, 4:]),
    }
    for call, outputs in calls.items():
        found |= {f"{call}/{name}/{key}": outputs[key] for key in outputs}
other = tf.saved_model.load(other).signatures["sample"]
found["other"] = other(observation=tf.constant(rows), **plain)["action"]
np.savez("outputs.npz", **found)
try:
    signatures["serving_default"](observation=tf.constant(rows, tf.float64))
except Exception as error:
    print(type(error).__name__, "expected to be a float tensor" in str(error))
print(*Absent.NAMES & {name.partition(".")[0] for name in sys.modules})
"""


@pytest.fixture(scope="module")
def fresh(exported, rounded, tmp_path_factory):
    """What a process that has TensorFlow alone gets of the model, by call and batch."""
    here = tmp_path_factory.mktemp("elsewhere")
    np.savez(here / "inputs.npz", **{str(b): observations(b) for b in BATCHES})
    done = subprocess.run(
        [sys.executable, "-I", "-c", FRESH, exported.folder, rounded.folder, str(SEED)],
        cwd=here,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # TensorFlow converts arrays of float64, and refuses tensors of float64.
    assert done.stdout.splitlines() == ["InvalidArgumentError True", ""]
    with np.load(here / "outputs.npz") as found:
        return dict(found)


@pytest.mark.parametrize("batch", BATCHES)
def test_seeded_actions_are_the_policys(fresh, policy, batch):
    ours = policy.action(exporting.time_step(observations(batch)), seed=SEED).action
    for call in ("sample", "float64"):
        theirs = fresh[f"{call}/{batch}/action"]
        assert (theirs.shape, theirs.dtype) == ((batch, 2), np.float32)
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=5e-6)
    rows = tf.constant(observations(batch))
    selected = policy.select(rows, seed=SEED)
    for name in ("q_value", "value"):
        found = fresh[f"sample/{batch}/{name}"]
        np.testing.assert_allclose(found, getattr(selected, name), atol=1e-5)
    spread = fresh[f"sample/{batch}/action_spread"]
    np.testing.assert_allclose(spread, selected.spread, atol=1e-6)


@pytest.mark.parametrize("batch", BATCHES)
def test_unseeded_actions_are_fresh_and_within_the_bounds(fresh, policy, batch):
    rows = tf.constant(observations(batch))
    value = policy.select(rows).value
    for call in ("default", "again", "dict"):
        action, q_value = (fresh[f"{call}/{batch}/{x}"] for x in ("action", "q_value"))
        assert action.shape == (batch, 2) and q_value.shape == (batch,)
        assert (np.abs(action) <= 1).all()
        np.testing.assert_allclose(q_value, policy.q_value(rows, action), atol=1e-4)
        # V tells whether a dict is put together in the order of the flat input.
        np.testing.assert_allclose(fresh[f"{call}/{batch}/value"], value, atol=1e-5)
    default, again = fresh[f"default/{batch}/action"], fresh[f"again/{batch}/action"]
    assert not np.array_equal(default, again)


def test_a_rounded_model_chooses_by_implicit_weights(finished, rounded, fresh):
    def actions(method):
        policy = exporting.make_policy(
            finished[0], 4, 6, method, [FEW_STEPS], bfloat16=True
        )
        return policy.select(observations(BATCHES[-1]), SEED).action

    ours = actions("implicit")
    np.testing.assert_allclose(fresh["other"], ours, rtol=0, atol=5e-6)
    assert np.abs(ours - actions("argmax")).max() > 0.01
