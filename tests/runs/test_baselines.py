"""Every baseline and ablation through the commands that IDQL goes through."""

import csv

import pytest
from paths import REPOSITORY
from tiny_run import SMALL, run_warm, script

BASELINES = {
    "iql": ["iql"],
    "iql_one_parameter": ["iql", "iql_one_parameter"],
    "iql_resampling": ["iql", "iql_resampling"],
    "gaussian_resampling": ["bc_gaussian", "gaussian_resampling"],
    "eql": ["iql", "eql"],
    "bc_gaussian": ["bc_gaussian"],
    "bc_diffusion": ["bc_diffusion"],
    "filtered_bc": ["bc_gaussian", "filtered_bc"],
}
ABLATIONS = sorted(p.stem for p in (REPOSITORY / "gin" / "ablations").glob("*.gin"))
CASES = [
    pytest.param(
        [f"gin/baselines/{name}.gin" for name in files],
        marks=pytest.mark.slow,
        id=case,
    )
    for case, files in BASELINES.items()
] + [
    pytest.param([f"gin/ablations/{name}.gin"], marks=pytest.mark.slow, id=name)
    for name in ABLATIONS
]
FEW = [
    "CRITIC_STEPS=200",
    "BEHAVIOR_STEPS=%CRITIC_STEPS",
    "GaussianBehavior.hidden_dims=(16,)",
    "IdqlLearner.behavior_batch_size=16",
    "train.evaluate_every=200",
]


def test_every_file_is_tried():
    files = {p.stem for p in (REPOSITORY / "gin" / "baselines").glob("*.gin")}
    assert files == set(BASELINES)


@pytest.mark.parametrize("files", CASES)
def test_it_trains_evaluates_and_reports(maze, tmp_path, files):
    run_dir, page = tmp_path / "run", tmp_path / "page.html"
    trained = run_warm(
        script(
            "train.py",
            f"--dataset={maze}",
            f"--run_dir={run_dir}",
            params=[*SMALL, *FEW],
            files=["gin/tasks/maze2d.gin", *files],
        )
    )
    assert trained.returncode == 0, trained.stderr
    evaluated = run_warm(script("evaluate.py", f"--run_dir={run_dir}", "--episodes=3"))
    assert evaluated.returncode == 0, evaluated.stderr
    with open(run_dir / "evaluations.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert max(int(row["episode"]) for row in rows) == 2
    reported = run_warm(script("report.py", f"--run_dir={run_dir}", f"--output={page}"))
    assert reported.returncode == 0 and "IQL, the best" not in page.read_text()
