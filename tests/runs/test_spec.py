import json

import pytest

from idql_tf.errors import UserError
from idql_tf.runs import spec as run_spec

GOOD = {
    "dataset": {
        "dataset": "minari:a/b-v0",
        "sha256": "0" * 64,
        "env_spec": None,
        "observation_keys": [],
        "observation_size": 3,
        "action_low": [-1.0, -2],
        "action_high": [1.0, 0.5],
        "reference": {"minimum": 0, "maximum": 1.0, "source": "ours"},
        "num_episodes": 4,
    },
    "reward_rule": {"name": "none", "scale": 1.0, "offset": 0.0},
    "seeds": [0, 7],
    "env_id": None,
    "methods": [["argmax", 64]],
    "observation_statistics": {
        name: [0.0, 1.0, 2.0] for name in ("mean", "stddev", "minimum", "maximum")
    },
}


def _write(folder, spec):
    (folder / "spec.json").write_text(spec if type(spec) is str else json.dumps(spec))
    return folder


def test_a_good_one_is_read(tmp_path):
    assert run_spec.read(_write(tmp_path, GOOD)) == GOOD


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dataset", None),
        ("dataset", [1]),
        ("dataset/sha256", 3),
        ("dataset/observation_size", 0),
        ("dataset/observation_size", 3.0),
        ("dataset/observation_size", True),
        ("dataset/action_low", []),
        ("dataset/action_low", [0.0]),
        ("dataset/action_low", [float("nan"), -2.0]),
        ("dataset/action_high", [1.0, -2.0]),
        ("dataset/action_high", 1.0),
        ("dataset/observation_keys", "observation"),
        ("dataset/env_spec", {}),
        ("dataset/reference", {"minimum": 0.0, "maximum": "1", "source": ""}),
        ("env_id", 3),
        ("seeds", []),
        ("seeds", ["0"]),
        ("seeds", [-1]),
        ("reward_rule", {"name": "none", "scale": 1.0}),
        ("reward_rule/scale", float("inf")),
        ("methods", [["argmax"]]),
        ("methods", [["argmax", "64"]]),
        ("observation_statistics/mean", [0.0, 1.0]),
        ("observation_statistics/stddev", None),
    ],
)
def test_a_damaged_field_is_named(tmp_path, path, value):
    spec = json.loads(json.dumps(GOOD))
    *parents, name = path.split("/")
    part = spec
    for parent in parents:
        part = part[parent]
    part[name] = value
    with pytest.raises(UserError, match="spec.json is damaged: .* expected ") as error:
        run_spec.read(_write(tmp_path, spec))
    top = path.split("/")[0]
    named = {name, top, "action_high" if name == "action_low" else name}
    assert any(f"{n} is" in str(error.value) for n in named)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null"])
def test_other_files_are_refused(tmp_path, text):
    with pytest.raises(UserError, match="start a new run"):
        run_spec.read(_write(tmp_path, text))
