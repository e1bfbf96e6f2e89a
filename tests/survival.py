"""What must hold of a run that was killed and started again."""

import csv
import pathlib

import numpy as np
import tensorflow as tf


def state(run_dir):
    """All that the newest checkpoint holds, by name; {} where there is none."""
    # By name: a kill may come before the file that names the newest.
    folder = run_dir / "checkpoints"
    numbers = [int(p.stem[5:]) for p in folder.glob("step-*.index")]
    if not numbers:
        return {}
    reader = tf.train.load_checkpoint(str(folder / f"step-{max(numbers)}"))
    names = reader.get_variable_to_shape_map()
    return {n: reader.get_tensor(n) for n in names if "OBJECT" not in n}


def rows(path):
    """Rows of metrics.csv but for those of time."""
    with open(path, newline="") as file:
        return [r for r in csv.DictReader(file) if not r["name"].startswith("time/")]


def check_same(whole, found):
    """Two runs are the same but for how long they took."""
    check_trained(whole, found)
    for name in "evaluations.csv", "config.gin":
        assert (whole / name).read_text() == (found / name).read_text(), name


def check_trained(whole, found):
    """The same of what training alone writes."""
    expected, got = state(whole), state(found)
    assert expected.keys() == got.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(values, got[name], err_msg=name)
    assert rows(whole / "metrics.csv") == rows(found / "metrics.csv"), "metrics.csv"
    listed = [{p.name for p in (x / "checkpoints").iterdir()} for x in (whole, found)]
    assert listed[0] == listed[1], listed


class Kept:
    """Transitions that a finetuning's checkpoints counted on at its kills."""

    def __init__(self, run_dir: pathlib.Path) -> None:
        self._run_dir = run_dir
        self._noted: list[np.ndarray] = []

    def _journal(self):
        files = sorted((self._run_dir / "replay").glob("*.npz"))
        parts = [np.load(file)["packed"] for file in files]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _env_step(self):
        found = state(self._run_dir)
        return int(found.get("learner/env_step/.ATTRIBUTES/VARIABLE_VALUE", 0))

    def note(self):
        """Called after a kill."""
        saved = self._env_step()
        journal = self._journal()
        assert len(journal) >= saved, (len(journal), saved)
        if saved:
            self._noted.append(journal[:saved])

    def check(self, steps):
        """Called at the end: settings are those of kill_many.py, --mode=imp."""
        journal = self._journal()
        assert len(journal) == steps and self._env_step() == steps
        for noted in self._noted:
            np.testing.assert_array_equal(journal[: len(noted)], noted)
        found = rows(self._run_dir / "metrics.csv")
        keys = [(r["step"], r["seed"], r["name"]) for r in found]
        assert len(keys) == len(set(keys)), "rows of metrics.csv twice"
        for name, before, ratio in (
            ("critic/updates", 3_000, 0.5),
            ("behavior/updates", 1_500, 2),
        ):
            logged = [r for r in found if r["name"] == name]
            counts = {int(r["step"]): float(r["value"]) for r in logged}
            due = {k: before + ratio * (k - 40) for k in range(40, steps + 1, 40)}
            assert counts == due, name
        with open(self._run_dir / "evaluations.csv", newline="") as file:
            evaluated = [(r["step"], r["seed"]) for r in csv.DictReader(file)]
        assert evaluated == [
            (str(step), seed) for step in range(0, steps + 1, 400) for seed in "04"
        ], evaluated
