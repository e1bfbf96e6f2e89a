import json
import pathlib

import numpy as np
import pytest
import tiny_run

from idql_tf import data
from idql_tf.data import inspection
from idql_tf.errors import UserError


def report_on(dataset, **kwargs):
    report = inspection.inspect(data.load(dataset, validate=False, **kwargs))
    json.dumps(report, allow_nan=False)
    assert inspection.format_report(report)
    return report


def test_counts_and_distributions(save, arrays):
    report = report_on(save("d4rl", arrays))
    assert report["counts"] == {
        "transitions": 10,
        "observations": 12,
        "episodes": 3,
        "observation_size": 2,
        "action_size": 2,
        "memory_bytes": 12 * 8 + 10 * (4 + 8 + 4 + 4 + 1),
    }
    assert report["returns"]["min"] == 6 and report["returns"]["max"] == 27
    assert report["returns"]["median"] == 15
    assert report["lengths"]["mean"] == pytest.approx(10 / 3)
    assert sum(report["lengths"]["histogram"]["counts"]) == 3
    assert report["ends"] == {"terminated": 1, "timed_out": 2}
    assert report["rewards"]["fraction_zero"] == pytest.approx(0.1)
    assert report["rewards"]["num_distinct"] == 10
    assert report["environment"]["id"] is None and report["score"] is None
    inspection.require_trainable(report)


def test_reward_rules_show_before_and_after(save, arrays):
    rules = report_on(save("d4rl", arrays))["reward_rules"]
    assert rules["none"]["rewards"] == [0, 10] and rules["none"]["returns"] == [6, 27]
    assert rules["locomotion_return_scale"]["scale"] == pytest.approx(1000 / 21)
    assert rules["antmaze_minus_one"]["returns"] == [2, 24]  # 6 - 4, 27 - 3


def test_saturated_actions_and_constant_features(save, arrays):
    arrays["actions"][:5, 1] = 1.0
    arrays["observations"][:, 0] = 2.5
    report = report_on(save("d4rl", arrays))
    assert report["actions"]["fraction_at_bounds"] == [0.0, 0.5]
    assert report["features"]["constant"] == [{"feature": 0, "value": 2.5}]


def test_non_finite_features_and_the_verdict(save, arrays):
    arrays["observations"][6:, 1] = np.nan
    arrays["rewards"][2] = np.inf
    report = report_on(save("d4rl", arrays))
    assert report["features"]["non_finite"] == [
        {"feature": 1, "first_row": 6, "count": 6}
    ]
    assert report["returns"]["count"] == 2
    assert len(report["problems"]) == 2
    assert "cannot be trained on" in inspection.format_report(report)
    with pytest.raises(UserError, match=r"observations hold nan.*and 1 more, above"):
        inspection.require_trainable(report)


def test_duplicated_episodes(save, arrays):
    arrays = {name: np.concatenate([a, a]) for name, a in arrays.items()}
    arrays["timeouts"][11] = arrays["timeouts"][23] = True
    report = report_on(save("d4rl", arrays))
    assert report["duplicated_episodes"] == {
        "count": 3,
        "groups": [[0, 3], [1, 4], [2, 5]],
    }


def test_real_data(shared_datasets):
    report = report_on("minari:d4rl-like/antmaze/umaze-v0")
    assert report["score"]["mean"] == pytest.approx(85.5, abs=0.05)
    assert report["rewards"]["distinct"] == {"0.0": 99_865, "1.0": 241}
    assert report["environment"]["source"] == "the dataset's metadata"
    text = inspection.format_report(report)
    assert "AntMaze_UMaze-v5" in text and "241 terminated" in text


def run_script(*arguments):
    return tiny_run.run_warm(tiny_run.script("inspect_data.py", *arguments))


def test_script_prints_and_writes_json(save, arrays, tmp_path):
    path = tmp_path / "new" / "report.json"
    done = run_script("--dataset", save("d4rl", arrays), "--json", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "10 transitions in 3 episodes" in done.stdout
    assert json.loads(path.read_text())["ends"]["terminated"] == 1


def test_a_place_that_cannot_be_written_is_one_line(save, arrays, tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("precious")
    done = run_script("--dataset", save("d4rl", arrays), "--json", f"{kept}/x.json")
    assert done.returncode == 2
    assert done.stderr.startswith("error: the report cannot be written to '")
    assert done.stderr.count("\n") == 1
    for place in (tmp_path, "."):
        with pytest.raises(UserError, match="cannot be written"):
            inspection.write({}, place)
    with pytest.raises(ValueError, match="JSON"):
        inspection.write({"value": float("nan")}, kept)
    assert kept.read_text() == "precious"
    assert not list(tmp_path.rglob("*.partial"))


def test_script_reports_before_it_refuses(save, arrays):
    arrays["actions"][3, 0] = 7.0
    done = run_script("--dataset", save("d4rl", arrays))
    assert done.returncode == 2
    assert "10 transitions in 3 episodes" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "actions hold 7 at row 3" in done.stderr
    assert "In call to" not in done.stderr


def test_script_on_data_that_cannot_be_read(tmp_path):
    done = run_script("--dataset", f"d4rl:{tmp_path}/absent.hdf5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "does not exist" in done.stderr


def test_another_file_is_not_replaced_by_the_report(save, arrays, tmp_path):
    dataset = save("npz", arrays)
    file = dataset.removeprefix("npz:")
    before = pathlib.Path(file).read_bytes()
    report = inspection.inspect(data.load(dataset))
    for _ in range(2):  # Its own it replaces.
        inspection.write(report, tmp_path / "own.json")
    with pytest.raises(UserError, match="nothing is overwritten"):
        inspection.write(report, file)
    assert pathlib.Path(file).read_bytes() == before
