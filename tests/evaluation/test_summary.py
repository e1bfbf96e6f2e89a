import json

import pytest
from synthetic_run import EVALUATION_COLUMNS, write_csv, write_run

from idql_tf.errors import UserError
from idql_tf.evaluation import reading, records, summary

REFERENCE = {"minimum": 0.0, "maximum": 200.0, "source": "D4RL-v2 refs"}


def rows_of(returns, number, step, phase="offline", success="1", scored=True):
    """`returns[seed]` is the list of that seed's episode returns."""
    return [
        (phase, step, seed, "argmax", number, k, r, 9, r / 2 if scored else "", success)
        for seed, episodes in enumerate(returns)
        for k, r in enumerate(episodes)
    ]


@pytest.fixture
def run_dir(tmp_path):
    """Two methods, two evaluations, three seeds, two episodes."""
    path = write_run(tmp_path / "run", reference=REFERENCE, maze=False)
    rows = rows_of([[90, 110], [120, 120], [150, 170]], 64, 100)
    rows += rows_of([[10, 10], [20, 20], [60, 60]], 1, 100)
    rows += rows_of([[80, 80], [90, 110], [100, 140]], 64, 200)
    rows += rows_of([[10, 30], [30, 50], [90, 90]], 1, 200, success="0")
    write_csv(path / "evaluations.csv", EVALUATION_COLUMNS, rows)
    return path


def configure(run_dir, methods):
    spec = json.loads((run_dir / "spec.json").read_text())
    (run_dir / "spec.json").write_text(json.dumps(spec | {"methods": methods}))


def add(run_dir, rows):
    append(run_dir, "".join(",".join(map(str, row)) + "\n" for row in rows))


def append(run_dir, text):
    with (run_dir / "evaluations.csv").open("a") as file:
        file.write(text)


def test_numbers_by_hand(run_dir):
    found = summary.write(run_dir)
    assert [e["num_candidates"] for e in found["methods"]] == [64, 1]
    idql, single = found["methods"]
    assert idql["score"]["per_seed"] == {"0": 40.0, "1": 50.0, "2": 60.0}
    assert idql["score"]["mean"] == 50.0
    assert idql["score"]["interval"] == (40.0, 60.0)
    assert idql["return"]["mean"] == 100.0
    assert idql["score"]["best"] == pytest.approx((50 + 60 + 80) / 3)
    assert idql["score"]["best_step"] == 100
    assert idql["score"]["mean_of_last_3"] == pytest.approx((190 / 3 + 50) / 2)
    assert (idql["step"], idql["phase"]) == (200, "offline")
    assert (idql["episodes"], idql["episodes_per_seed"]) == (6, 2)
    assert single["success"]["mean"] == 0.0
    assert single["score"]["mean"] == pytest.approx((10 + 20 + 45) / 3)
    assert found["headline"]["idql"] == 0
    assert found["headline"]["single"] == 1
    difference = found["headline"]["difference"]
    assert difference["per_seed"] == {"0": 30.0, "1": 30.0, "2": 15.0}
    assert difference["interval"] == (15.0, 30.0)


def test_file_is_the_summary_and_strict_json(run_dir):
    found = summary.write(run_dir)
    text = (run_dir / "summary.json").read_text()
    stored = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert stored == json.loads(json.dumps(found))
    assert not list(run_dir.glob("*.part"))


def test_an_evaluation_added_later_does_not_become_the_headline(run_dir):
    add(run_dir, rows_of([[200] * 5, [200] * 5, [200] * 5], 256, 300))
    found = summary.write(run_dir)
    assert found["methods"][0]["num_candidates"] == 256, "no configured methods"

    configure(
        run_dir, [["softmax", 512], ["argmax", 1], ["argmax", 16], ["argmax", 64]]
    )
    found = summary.write(run_dir)
    assert [e["num_candidates"] for e in found["methods"]] == [64, 1, 256]
    assert (found["headline"]["idql"], found["headline"]["single"]) == (0, 1)
    assert found["headline"]["difference"]["mean"] == 25.0
    assert "IDQL (N = 64) reaches a normalised score of 50.0" in reading.paragraph(
        found
    )


def test_a_configured_method_not_evaluated_yet_is_not_replaced(run_dir):
    configure(run_dir, [["argmax", 128], ["argmax", 1]])
    found = summary.write(run_dir)
    assert found["headline"] == {"idql": None, "single": 0, "difference": None}
    assert [e["num_candidates"] for e in found["methods"]] == [1, 64]


def test_unfinished_evaluation_is_not_the_result(run_dir):
    append(run_dir, "offline,300,0,argmax,64,0,999,9,499.5,1\noffline,300,0,arg")
    found = summary.write(run_dir)
    assert found["methods"][0]["score"]["mean"] == 50.0
    assert found["methods"][0]["score"]["best"] < 100
    assert any("unfinished evaluation at step 300" in n for n in found["notes"])
    assert any("1 incomplete line" in note for note in found["notes"])


def test_an_evaluation_repeated_after_a_resume_counts_once(run_dir):
    append(run_dir, "offline,200,0,argmax,64,0,100,9,50,1\n")
    idql = summary.write(run_dir)["methods"][0]
    assert idql["episodes"] == 6
    assert idql["score"]["per_seed"]["0"] == 45.0


def test_without_a_reference_returns_are_reported(tmp_path):
    path = write_run(tmp_path / "run", reference=None, maze=False)
    rows = rows_of([[1, 3]], 64, 5, success="", scored=False)
    write_csv(path / "evaluations.csv", EVALUATION_COLUMNS, rows)
    found = summary.write(path)
    entry = found["methods"][0]
    assert entry["score"]["mean"] is None
    assert entry["success"]["mean"] is None
    assert entry["return"]["mean"] == 2.0
    assert summary.primary(entry) == "return"
    assert "No reference scores" in found["reference_note"]
    assert summary.NO_INTERVAL in summary.format_table(found)


def test_online_is_later_than_offline_and_continues_its_steps(run_dir):
    add(run_dir, rows_of([[2, 2], [4, 4], [6, 6]], 64, 0, phase="online"))
    run = records.read_run(run_dir)
    idql = summary.summarize(run)["methods"][0]
    assert (idql["phase"], idql["return"]["mean"]) == ("online", 4.0)
    steps = records.curve(run, records.Method("argmax", 64), "return").updates()
    assert steps.tolist() == [100, 200, 200]


def test_console_table(run_dir):
    lines = summary.format_table(summary.write(run_dir)).splitlines()
    assert lines[0].split()[:3] == ["method", "score", "IQM"]
    assert lines[2].startswith("IDQL (N = 64)")
    assert "[40.0, 60.0]" in lines[2]
    assert lines[2].endswith("40.0 50.0 60.0")
    assert lines[3].startswith("Behaviour cloning (N = 1)")
    assert lines[4].split()[-1] == "3.4"
    assert "D4RL-v2 refs" in lines[-1]
    assert lines[-3] == "2 episodes per seed at step 200."
    assert max(map(len, lines)) <= 100


def test_console_table_says_which_rows_rest_on_other_evaluations(run_dir):
    add(run_dir, rows_of([[20] * 5, [20] * 5, [20] * 5], 16, 1300))
    add(run_dir, rows_of([[2], [4], [6]], 8, 0, phase="online"))
    text = summary.format_table(summary.write(run_dir))
    assert (
        "IDQL (N = 64), Behaviour cloning (N = 1): 2 episodes per seed at step 200; "
        "IDQL (N = 8): 1 episode per seed at online step 0; "
        "IDQL (N = 16): 5 episodes per seed at step 1,300."
    ) in text.splitlines()


def test_no_evaluations_yet(tmp_path):
    path = write_run(tmp_path / "run")
    (path / "evaluations.csv").unlink()
    found = summary.write(path)
    assert found["methods"] == []
    assert "no evaluation" in summary.format_table(found)
    assert any("evaluations.csv" in note for note in found["notes"])


def test_what_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        summary.write(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no spec\.json"):
        summary.write(tmp_path)
    path = write_run(tmp_path / "run")
    (path / "evaluations.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="header"):
        summary.write(path)
    (path / "spec.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        summary.write(path)


def test_reading_states_a_difference_and_that_intervals_do_not_overlap(run_dir):
    text = reading.paragraph(summary.write(run_dir))
    assert "a difference of +25.0" in text
    assert "[15.0, 30.0]" in text
    assert "lies above zero" in text
    assert "intervals overlap" in text  # [40, 60] and [10, 45]
    assert "best evaluation along the way was 63.3, at step 100" in text


def test_reading_claims_nothing_when_the_difference_may_be_zero(run_dir):
    rows = rows_of([[100, 100], [90, 90], [100, 100]], 64, 200)
    rows += rows_of([[90, 90], [100, 100], [90, 90]], 1, 200)
    write_csv(run_dir / "evaluations.csv", EVALUATION_COLUMNS, rows)
    text = reading.paragraph(summary.write(run_dir))
    assert "no difference is shown" in text
    assert "helps" not in text


def test_reading_says_what_to_try_where_the_choice_hurts(run_dir):
    rows = rows_of([[10], [20], [15]], 64, 200) + rows_of([[50], [60], [70]], 1, 200)
    write_csv(run_dir / "evaluations.csv", EVALUATION_COLUMNS, rows)
    text = reading.paragraph(summary.write(run_dir))
    assert "hurts on these seeds" in text and "--num_candidates 4" in text
    # One of another step or another rule is not compared.
    add(run_dir, rows_of([[90], [90], [90]], 8, 100))
    # Nor is one of fewer seeds.
    add(run_dir, rows_of([[90], [95]], 16, 200))
    assert "--num_candidates 4" in reading.paragraph(summary.write(run_dir))
    add(run_dir, rows_of([[20], [30], [40]], 2, 200))
    text = reading.paragraph(summary.write(run_dir))
    assert "more critic steps" in text and "--num_candidates" not in text
    add(run_dir, rows_of([[80], [90], [85]], 4, 200))
    text = reading.paragraph(summary.write(run_dir))
    assert "N = 4 is best, with 42.5" in text and "evaluation_seed" in text


def test_reading_with_two_seeds_is_an_indication(run_dir):
    rows = rows_of([[100], [90]], 64, 200) + rows_of([[1], [2]], 1, 200)
    write_csv(run_dir / "evaluations.csv", EVALUATION_COLUMNS, rows)
    text = reading.paragraph(summary.write(run_dir))
    assert "indication only" in text
    assert "which needs 3 seeds" in text
    assert "95 %" not in text


def test_an_episode_without_a_return_is_no_evidence(run_dir):
    rows = rows_of([[10], [20], [float("nan")]], 64, 300)
    write_csv(run_dir / "evaluations.csv", EVALUATION_COLUMNS, rows)
    found = summary.write(run_dir)
    assert found["methods"][0]["seeds"] == [0, 1]
    score = found["methods"][0]["score"]
    assert score["mean"] == pytest.approx(7.5) and score["interval"] is None
    assert any("1 episode(s) without a finite return" in x for x in found["notes"])


@pytest.mark.parametrize(
    "row",
    [
        "offline,-5,0,argmax,64,0,9,9,9,1",
        "offline,200,0,argmax,-64,0,9,9,9,1",
    ],
)
def test_a_row_that_cannot_be_is_passed_over(run_dir, row):
    before = summary.write(run_dir)
    append(run_dir, f"{row}\n")
    found = summary.write(run_dir)
    assert found["methods"] == before["methods"]
    assert any("1 incomplete line(s) skipped" in note for note in found["notes"])


def test_one_episode_without_a_return_costs_only_itself(run_dir):
    rows = rows_of([[10, 30], [20, float("nan")], [30, 30]], 64, 300)
    write_csv(run_dir / "evaluations.csv", EVALUATION_COLUMNS, rows)
    score = summary.write(run_dir)["methods"][0]["score"]
    assert score["per_seed"] == {"0": 10.0, "1": 10.0, "2": 15.0}


def test_a_success_that_is_no_rate_is_unknown(run_dir):
    rows = rows_of([[10], [20], [30]], 64, 300, success="7")
    write_csv(run_dir / "evaluations.csv", EVALUATION_COLUMNS, rows)
    idql = summary.write(run_dir)["methods"][0]
    assert idql["score"]["mean"] == 10.0 and idql["success"]["mean"] is None
