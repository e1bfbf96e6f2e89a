import csv
import json

import numpy as np
import pytest
from tiny_run import check_refused, run_warm, script

from idql_tf import config
from idql_tf.experiments import densities
from idql_tf.experiments.density_model import kept as kept_points
from idql_tf.experiments.figure3 import _file_name, outlier_measure

QUICK = "--budget=quick"
NAN = np.float32(np.nan).tobytes()


def reproduce(name, folder, *params):
    return run_warm(script("reproduce.py", name, f"--output={folder}", *params))


def test_figure_2_holds(tmp_path):
    done = reproduce("figure2", tmp_path / "out", QUICK)
    assert done.returncode == 0, done.stderr
    claims = json.loads((tmp_path / "out" / "figure2.json").read_text())
    assert len(claims) == 5 and all(c["holds"] for c in claims), claims
    assert done.stdout.count("holds") >= 5 and done.stderr == ""
    with open(tmp_path / "out" / "figure2.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {r["objective"] for r in rows} == {"expectile", "quantile", "exponential"}
    assert (tmp_path / "out" / "figure2.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_figure_1_runs(tmp_path):
    done = reproduce("figure1", tmp_path, QUICK)
    assert done.returncode == 0, done.stderr
    claims = json.loads((tmp_path / "figure1.json").read_text())
    # AWR's Gaussians need no training; so little of it proves nothing of IDQL.
    assert len(claims) == 3 and claims[0]["holds"]


@pytest.mark.slow
def test_figure_3_runs(tmp_path):
    done = reproduce("figure3", tmp_path, QUICK)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "figure3.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and {r["network"] for r in rows} == {"MLP", "LN-ResNet"}
    assert all(0.0 < float(r["outliers"]) < 1.0 for r in rows)


def test_points_are_drawn_once_and_anew_where_damaged(tmp_path):
    path, drawn = tmp_path / "points" / "one", []

    def draw():
        drawn.append(np.full([1, 5, 2], len(drawn), np.float32))
        return drawn[-1]

    def kept():
        return kept_points(path, (1, 5, 2), draw)[0, 0, 0]

    assert [kept(), kept()] == [0.0, 0.0] and len(drawn) == 1
    whole = path.read_bytes()
    for times, damaged in enumerate([b"", whole[:-1], b"PK", whole[:-4] + NAN]):
        path.write_bytes(damaged)
        assert kept() == kept() == times + 1
    with pytest.raises(FileExistsError):
        kept_points(path / "below", (1, 5, 2), draw)


def test_every_setting_has_points_of_its_own():
    config.load([], [])
    one = _file_name("moons", "MLP", (2, 64, 10, 20, 5), (0,))
    others = [
        _file_name("moons", "MLP", (2, 64, 10, 20, 6), (0,)),
        _file_name("moons", "MLP", (3, 64, 10, 20, 5), (0,)),
        _file_name("moons", "MLP", (2, 64, 10, 20, 5), (1,)),
        _file_name("moons", "LN-ResNet", (2, 64, 10, 20, 5), (0,)),
        _file_name("2 spirals", "MLP", (2, 64, 10, 20, 5), (0,)),
    ]
    config.load([], ["Behavior.learning_rate = 0.5"])
    others.append(_file_name("moons", "MLP", (2, 64, 10, 20, 5), (0,)))
    assert len({one, *others}) == 7 and not any(" " in name for name in others)
    config.load([], [])
    assert _file_name("moons", "MLP", (2, 64, 10, 20, 5), (0,)) == one


@pytest.mark.slow
def test_figure_3_goes_on_after_the_last_whole_model(tmp_path):
    small = ["sets=('moons',)", "training_steps=2", "num_data=500", "num_samples=50"]
    params = [f"--gin_param=figure3.{param}" for param in small]

    def outliers():
        done = reproduce("figure3", tmp_path, QUICK, *params)
        assert done.returncode == 0 and "retracing" not in done.stderr, done.stderr
        with open(tmp_path / "figure3.csv", newline="") as file:
            return {r["network"]: float(r["outliers"]) for r in csv.DictReader(file)}

    found = outliers()
    assert 0.0 < found["MLP"] < 1.0
    (mlp,) = (tmp_path / "figure3-points").glob("moons-MLP-*")
    (resnet,) = (tmp_path / "figure3-points").glob("moons-LN-ResNet-*")
    mlp.write_bytes(np.full([1, 50, 2], 9.0, np.float32).tobytes())
    resnet.unlink()
    assert outliers() == {"MLP": 1.0, "LN-ResNet": found["LN-ResNet"]}


def test_a_file_where_points_are_kept_is_refused_before_training(tmp_path):
    (tmp_path / "figure3-points").write_text("mine")
    check_refused(reproduce("figure3", tmp_path, QUICK), "cannot be made")
    assert (tmp_path / "figure3-points").read_text() == "mine"


@pytest.mark.parametrize("name", densities.NAMES)
def test_the_measure_finds_what_is_far_from_the_data(name):
    points = densities.draw(name, 30_000, np.random.default_rng(0))
    assert points.shape == (30_000, 2) and np.abs(points).max() <= 0.8501
    data, fresh, others = np.split(points, 3)
    outliers = outlier_measure(data, fresh)
    assert outliers(data) == 0.0
    # One in a thousand, of ten thousand: 10 +- 3.2 expected.
    assert 0 < outliers(others) < 0.003
    assert outlier_measure(data, fresh, 0.1)(data + 0.06) == 0.0
    everywhere = np.random.default_rng(1).uniform(-1, 1, (10_000, 2))
    # Moons of this width cover half the square.
    assert outliers(everywhere) > 0.3


@pytest.mark.parametrize(
    "name, param, words",
    [
        ("figure1", "figure1.modes=((0.0, 0.0, 1.0),)", "expected pairs"),
        ("figure1", "figure1.seeds=()", "distinct seeds"),
        ("figure2", "figure2.cluster_shares=(0.5, 0.5)", "together 1"),
        ("figure2", "figure2.num_samples=1", "figure2.num_samples is 1"),
        ("figure3", "figure3.sets=('moon',)", "expected some of"),
        ("figure3", "figure3.training_steps=0", "training_steps is 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, name, param, words):
    done = reproduce(name, tmp_path / "out", QUICK, f"--gin_param={param}")
    check_refused(done, words)


@pytest.mark.parametrize("name", ["figure99", "--budget=cpu"])
def test_an_unknown_name_is_refused(tmp_path, name):
    check_refused(reproduce(name, tmp_path), "expected one of figure1")


def test_an_output_that_is_a_file_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    check_refused(reproduce("figure2", file, QUICK), "cannot be made")
    assert file.read_text() == "mine"
