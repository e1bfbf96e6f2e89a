"""Every baseline and ablation through the commands that IDQL goes through."""

import csv

import pytest
from paths import REPOSITORY
from tiny_run import SMALL, run_warm, script

# The files, and what the run is called where one candidate acts.
BASELINES = {
    "iql": (["iql"], "IQL"),
    "iql_one_parameter": (["iql", "iql_one_parameter"], "IQL"),
    "iql_resampling": (["iql", "iql_resampling"], "IQL"),
    "gaussian_resampling": (["bc_gaussian", "gaussian_resampling"], "Gaussian cloning"),
    "eql": (["iql", "eql"], "EQL"),
    "bc_gaussian": (["bc_gaussian"], "Gaussian cloning"),
    "bc_diffusion": (["bc_diffusion"], "Behaviour cloning"),
    "filtered_bc": (["bc_gaussian", "filtered_bc"], "Gaussian cloning, filtered data"),
}
ABLATIONS = {
    path.stem: "Weighted diffusion" if "awr" in path.stem else "Behaviour cloning"
    for path in sorted((REPOSITORY / "gin" / "ablations").glob("*.gin"))
}
CASES = {
    name: ([f"gin/baselines/{file}.gin" for file in files], label)
    for name, (files, label) in BASELINES.items()
} | {n: ([f"gin/ablations/{n}.gin"], label) for n, label in ABLATIONS.items()}
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


@pytest.mark.slow
@pytest.mark.parametrize("files, label", CASES.values(), ids=CASES)
def test_it_trains_evaluates_and_reports(maze, tmp_path, files, label):
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
    assert reported.returncode == 0 and f"{label} (N = 1)" in page.read_text()
