import json

import pytest
from synthetic_run import write_run

from idql_tf.errors import UserError
from idql_tf.evaluation import report, specification


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path / "umaze")


def _damage(spec, path, value):
    *parents, last = path.split(".")
    for name in parents:
        spec = spec[name]
    spec[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dataset", "x"),
        ("dataset.env_spec", 7),
        ("dataset.dataset", [1]),
        ("dataset.dataset", "npz:\ud800"),
        ("dataset.observation_keys", 3),
        ("dataset.num_episodes", "3"),
        ("dataset.num_episodes", 10**400),
        ("dataset.reference", {"minimum": "a", "maximum": [], "source": 3}),
        ("dataset.reference", {"minimum": float("nan"), "maximum": 1, "source": ""}),
        ("dataset.reference", {"minimum": 0}),
        ("num_transitions", "5"),
        ("dataset_score", "<b>5</b>"),
        ("dataset_score", 10**400),
        ("dataset_returns", {"edges": [1e308, -1e308, "x"], "counts": [1]}),
        ("dataset_returns", {"edges": [], "counts": []}),
        ("dataset_returns", {"edges": [0, 1]}),
        ("reward_rule", "x"),
        ("reward_rule.scale", "x"),
        ("versions", [1]),
        ("versions", {"a": float("nan")}),
        ("reward_rule", {"name": 5}),
        ("seeds", [0, 0]),
        ("dataset.observation_size", None),
        ("dataset.action_low", [-1e40, -1e40]),
        ("dataset.reference", {"minimum": 1.0, "maximum": 1.0, "source": ""}),
        ("seeds", 5),
        ("seeds", [10**40]),
        ("methods", [["argmax"]]),
        ("env_id", 3),
        ("dataset.observation_size", 0),
        ("dataset.observation_size", 4.0),
        ("dataset.action_low", "x"),
        ("dataset.action_high", [None]),
        ("dataset.discrete_actions", 1),
    ],
)
def test_a_damaged_field_is_named(run_dir, path, value):
    spec = json.loads((run_dir / "spec.json").read_text())
    _damage(spec, path, value)
    (run_dir / "spec.json").write_text(json.dumps(spec))
    field = path.removesuffix(".scale")
    with pytest.raises(UserError, match=f"spec.json: {field} is damaged"):
        specification.read(run_dir / "spec.json")
    with pytest.raises(UserError, match=f"spec.json: {field} is damaged"):
        report.write([run_dir])


_DISCRETE = {"action_low": [0.0], "action_high": [1.0], "discrete_actions": True}


@pytest.mark.parametrize(
    ("dataset", "statistics", "match"),
    [
        (
            {"action_low": [-1.0], "action_high": [1.0, 1.0]},
            None,
            "dataset or .*low below",
        ),
        ({"action_low": [-1.0, 1.0], "action_high": [1.0, 1.0]}, None, "below"),
        ({"action_low": [], "action_high": []}, None, "action_low below"),
        (_DISCRETE | {"action_low": [-0.5]}, None, "found -0.5"),
        (_DISCRETE | {"action_high": [1e9]}, None, "at most 10,000"),
        (_DISCRETE | {"action_low": [0, 0], "action_high": [1, 1]}, None, "damaged"),
        ({"observation_size": 3}, [0.0, 1.0], "observation_size is 3, found 2 numbers"),
        ({}, 0.0, "json: observation_statistics is damaged .*expected a list"),
    ],
)
def test_sizes_that_do_not_fit(tmp_path, dataset, statistics, match):
    spec = {"dataset": dataset}
    if statistics is not None:
        names = ("mean", "stddev", "minimum", "maximum")
        spec["observation_statistics"] = dict.fromkeys(names, statistics)
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(UserError, match=match):
        specification.read(tmp_path / "spec.json")


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"null", b"3", b'{"a"', bytes(range(256)), b"[" * 100_000]
)
def test_a_specification_that_is_none(run_dir, content):
    (run_dir / "spec.json").write_bytes(content)
    with pytest.raises(UserError, match="spec.json"):
        report.write([run_dir])
