"""What docs/deploy.md tells a user to send is what an exported model takes."""

import json
import re

import gin
import numpy as np
import pytest
import tensorflow as tf
import tiny_learner
from google.protobuf import text_format
from paths import REPOSITORY
from tensorflow.core.framework.tensor_pb2 import TensorProto

from idql_tf import config
from idql_tf.export import saved_model
from idql_tf.training.learner import IdqlLearner

PAGE = (REPOSITORY / "docs" / "deploy.md").read_text()


@pytest.fixture(scope="module")
def signatures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "mine"
    config.load([], tiny_learner.BINDINGS)
    learner = IdqlLearner(6, 2, (0,))
    gin.clear_config()
    policy = saved_model.flat_policy(learner.critic, learner.behavior, 4)
    saved_model.write(policy, folder)
    return tf.saved_model.load(str(folder)).signatures


def _block(mark):
    found = re.search(rf"<!-- {mark} -->\n```\w*\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"docs/deploy.md has no block marked {mark}"
    return found.group(1)


def _call(signature, inputs):
    """As the server does: JSON values take the dtypes of the signature."""
    specs = signature.structured_input_signature[1]
    assert set(inputs) == set(specs)
    tensors = {k: tf.constant(v, specs[k].dtype) for k, v in inputs.items()}
    for name, tensor in tensors.items():
        assert specs[name].shape.is_compatible_with(tensor.shape), name
    return signature(**tensors)


@pytest.mark.parametrize("name", ["serving_default", "sample"])
def test_rest_bodies(signatures, name):
    body = json.loads(_block(f"rest: {name}"))
    assert body["signature_name"] == name
    inputs = body.get("inputs")
    if inputs is None:
        rows = body["instances"]
        inputs = {k: [row[k] for row in rows] for k in rows[0]}
    found = _call(signatures[name], inputs)
    assert found["action"].shape == (1, 2)
    assert {"action", "q_value", "value"} <= set(found)


def test_grpc_body(signatures):
    text = _block("grpc: serving_default")
    assert 'signature_name: "serving_default"' in text
    (key,) = re.findall(r'key: "(\w+)"', text)
    start = text.index("value {") + len("value {")
    value = text[start : text.rindex("}", 0, text.rindex("}"))]
    array = tf.make_ndarray(text_format.Parse(value, TensorProto()))
    assert array.dtype == np.float32
    found = _call(signatures["serving_default"], {key: array})
    assert found["action"].shape == (1, 2)


def test_tables_name_every_signature(signatures):
    told = set(re.findall(r"^\| `(\w+)` \| (?!scalar)", PAGE, re.MULTILINE))
    policy_saver = {"get_initial_state", "get_train_step", "get_metadata"}
    assert set(signatures) - policy_saver <= told
