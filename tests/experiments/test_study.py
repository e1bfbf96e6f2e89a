"""Studies read back: their tables, claims and pictures, of runs with known numbers."""

import csv

import gin
import numpy as np
import pytest

from idql_tf import config
from idql_tf.errors import UserError
from idql_tf.experiments import study, study_plot
from idql_tf.experiments.study import Arm, Mark, Order, Panel, Study
from idql_tf.runs.studies import STUDIES
from tests.evaluation.synthetic_run import write_run

OVER_N, BARS, STEPS = Panel("networks", "N"), Panel("weights"), Panel("online", "steps")


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


def _arm(name, *more):
    marks = [Mark(OVER_N, name, n, "argmax", n) for n in (1, 64)]
    return Arm(name, (*marks, Mark(BARS, name, None, "argmax", 64), *more))


def _study(*orders):
    every = Mark(STEPS, "low", every=True, num_candidates=64)
    return Study("A study", (_arm("high"), _arm("low", every)), orders)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    methods = [("argmax", 1), ("argmax", 64)]
    levels = {"high": 190.0, "low": 90.0}
    return {
        name: write_run(
            folder / name, episodes=5, level=level, methods=methods, maze=False
        )
        for name, level in levels.items()
    }


def _settings(**expected):
    task = {"dataset": "npz:unused.npz", "expected": expected}
    return study.Settings({"maze": task}, ("maze",), (0, 1, 2), 1)


def test_the_table_has_every_seeds_mean_of_the_last_evaluation(paths):
    rows = study.read(_study(), "maze", paths)
    assert len(rows) == 2 * 3 * 3 + 10 * 3
    with open(paths["low"] / "evaluations.csv", newline="") as file:
        episodes = [
            float(row["normalized_score"])
            for row in csv.DictReader(file)
            if (row["step"], row["seed"], row["num_candidates"]) == ("50000", "2", "64")
        ]
    found = [r for r in rows if r["label"] == "low" and r["panel"] == "weights"]
    assert [r["seed"] for r in found] == [0, 1, 2]
    assert found[2]["value"] == pytest.approx(np.mean(episodes))
    assert {r["step"] for r in found} == {50_000} and found[0]["episodes"] == 5
    along = [r["x"] for r in rows if r["panel"] == "online"]
    assert sorted(set(along)) == list(range(5_000, 50_001, 5_000))


def test_claims_hold_where_the_means_are_ordered(paths):
    orders = (
        Order("a", (("weights", "high", None), ("weights", "low", None))),
        Order("b", (("weights", "low", None), ("weights", "high", None))),
        Order("c", (("networks", "high", 64), ("networks", "high", 1))),
        # The last step of a curve against its first.
        Order("d", (("online", "low", None), ("online", "low", 5_000))),
        # The same numbers twice.
        Order("e", (("weights", "low", None), ("networks", "low", 64)), True),
        Order("f", (("weights", "low", None), ("networks", "low", 64))),
    )
    rows = study.read(_study(*orders), "maze", paths)
    claims = study.claims(_study(*orders), rows, _settings())
    assert [c.holds for c in claims] == [True, False, True, True, True, False]
    assert all(c.found.endswith("intervals apart") for c in claims[:2])
    assert claims[4].found.endswith("intervals overlap")
    assert claims[2].found.startswith("at 64 ")
    assert claims[3].found.startswith("low at the end ")
    one_seed = [row for row in rows if row["seed"] == 0]
    claims = study.claims(_study(*orders), one_seed, _settings())
    assert claims[0].holds and "need 3 seeds" in claims[0].found


def test_datasets_count_alike(paths):
    order = Order("a", (("weights", "high", None), ("weights", "low", None)))
    rows = study.read(_study(order), "one", paths)
    other = [
        row | {"dataset": "two", "value": 1_000.0 * (row["label"] == "low")}
        for row in rows
    ]
    (claim,) = study.claims(_study(order), rows + other, _settings())
    assert not claim.holds
    assert claim.found.endswith("; so on 1 of 2 datasets taken alone: one")
    none = [row | {"dataset": "three"} for row in other]
    (claim,) = study.claims(_study(order), other + none, _settings())
    assert claim.found.endswith("; so on 0 of 2 datasets taken alone")
    returns = [row | {"measure": "return"} for row in other]
    (claim,) = study.claims(_study(order), rows + returns, _settings())
    assert claim.holds and "alone" not in claim.found
    mean = study.values(rows + other, panel="weights", label="low").mean()
    assert mean == pytest.approx(
        500 + study.values(rows, panel="weights", label="low").mean() / 2
    )


def test_the_papers_scores_are_claims(paths):
    rows = [
        {"dataset": "maze", "panel": "", "label": "IDQL", "seed": seed, "value": value}
        | {"measure": "normalized_score"}
        for seed, value in enumerate((50.0, 60.0))
    ]
    near = study.claims(_study(), rows, _settings(IDQL=65.0))
    far = study.claims(_study(), rows, _settings(IDQL=65.1, other=1.0))
    assert [c.holds for c in near + far] == [True, False]
    assert "65" in near[0].text and "55.0" in near[0].found


def test_the_picture_has_axes_for_panels_and_datasets(paths):
    rows = study.read(_study(), "maze", paths)
    rows += [row | {"dataset": "other"} for row in rows]
    scores = {"maze": 3.4, "other": None}
    figure = study_plot.draw(_study(), rows, scores)
    shown = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(shown) == 6 and shown[0].get_gridspec().ncols == 2
    curves = shown[0].get_legend_handles_labels()[1]
    assert curves == ["high", "low", "the data"]
    assert [t.get_text() for t in shown[0].get_xticklabels()] == ["1", "64"]
    assert [t.get_text() for t in shown[2].get_yticklabels()] == ["high", "low"]
    assert study.table(rows).count("\n") == 1 + 2 * (2 * 3 + 10)


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("budget", ["quick", "cpu", "paper"])
def test_every_study_is_whole(name, budget):
    with gin.config_scope(name):
        config.load(["gin/studies/common.gin", f"gin/studies/{budget}.gin"])
        settings, what = study.Settings(), STUDIES[name]()
    assert set(settings.on) <= set(settings.tasks)
    names = [arm.name for arm in what.arms]
    assert len(set(names)) == len(names) and not what.arms[0].mode
    marks = [mark for arm in what.arms for mark in arm.marks]
    places = {(m.panel.title, m.label, m.x) for m in marks}
    assert len(places) == len(marks)
    curves = {(m.panel.title, m.label) for m in marks if m.every}
    for order in what.orders:
        for place in order.places:
            assert place in places or place[:2] in curves, place
    if budget == "quick" or name in ("figure4", "table4"):
        task = settings.tasks[settings.on[0]]
        for arm in what.arms:
            config.load(
                [*task["gin_files"], *arm.gin_files],
                [*task.get("gin_params", ()), *arm.bindings],
            )
            found = gin.query_parameter("evaluate.methods")
            rules = [rule for rule, _ in found]
            assert rules == [rule for rule, _ in arm.methods] or not arm.marks


def test_figure_4_compares_the_papers_extractions():
    config.load(["gin/studies/common.gin", "gin/studies/cpu.gin"])
    marks = [mark for arm in STUDIES["figure4"]().arms for mark in arm.marks]
    assert {mark.extraction for mark in marks} == {"argmax", "implicit", "softmax"}


def test_what_a_study_is_stays_out_of_its_runs():
    config.load(["gin/protocols/cpu.gin"])
    alone = config.current()
    config.load(
        ["gin/protocols/cpu.gin", "gin/studies/common.gin", "gin/studies/paper.gin"]
    )
    assert config.current() == alone


@pytest.mark.parametrize(
    "param, words",
    [
        ("study.on = ('none',)", "expected some of study.tasks"),
        ("study.seeds = (0, 0)", "distinct seeds"),
        ("study.tasks = {'a': {'data': 'x'}}", "study.tasks: 'a' has"),
        ("study.num_env_steps = 0", "study.num_env_steps is 0"),
        ("figure4.candidates = (4, 4)", "all different"),
        ("figure5.schedules_at = 7", "expected one of figure5.steps"),
        ("figure6.batch_sizes = (16,)", "expected 2 or more"),
        ("figure8.dropout_rates = (1.5,)", "dropout_rates"),
    ],
)
def test_settings_that_make_no_study_are_refused(param, words):
    config.load(["gin/studies/common.gin", "gin/studies/quick.gin"], [param])
    name = param.partition(".")[0]
    with pytest.raises(UserError, match=words):
        (STUDIES.get(name) or study.Settings)()
