"""What is fuzzed: for each format, damage to one file and the code that reads it."""

import functools
import pathlib
import shutil

import gin
import numpy as np
from mutations import damaged, damaged_json, damaged_table
from seeds import (
    CANARY,
    damaged_hdf5,
    damaged_metadata,
    damaged_npz,
    flat,
    hdf5_bytes,
    minari_arrays,
    minari_metadata,
)
from synthetic_run import maze_arrays, write_run

from idql_tf.errors import UserError

GIN = """
train.critic_steps = 500
train.reward_rule = 'none'
Critic.objective = @Expectile()
Expectile.tau = %TAU
TAU = 0.75
evaluate.methods = (('argmax', 4), ('argmax', 1))
load_dataset.observation_keys = ['observation']
"""
_GIN_LINES = (
    *(
        "TAU = %TAU",
        "TAU = %OTHER\nOTHER = %TAU",
        "import os",
        "include 'gin/base.gin'",
    ),
    *("from os import path", "TAU = @os.system()", "TAU = @Expectile()", "a/b/TAU = 1"),
    *("Expectile.tau = @Expectile()", "TAU = @TAU/macro()", "gin.macro.value = 3"),
    *(
        "TAU = @gin.singleton()",
        "TAU = @collect()",
        "TAU = @gin.constant()",
        "x.y.z = 1",
    ),
    *("TAU = " + "[" * 300 + "]" * 300, "TAU = 10 ** 10", "TAU = __import__('os')"),
    *("TAU = " + "9" * 5_000, "TAU = " + "-" * 3_000 + "1", "TAU = '" + "x" * 100_000),
    *("evaluate.methods = 3", "train.block_steps = None", "train.episodes = 1e999"),
    *(
        "include 'a'",
        "TAU = {[]: 1}",
        "TAU = {1, 2}",
        "# coding: utf-7",
        "TAU = f'{1}'",
    ),
    *(
        "load_dataset.observation_keys = {'a': 1}",
        "finetune.capacity = 'x'",
        "TAU = ...",
    ),
)


class Format:
    """A folder with one damaged file, and how it is read."""

    def __init__(self, folder: pathlib.Path, canary: pathlib.Path) -> None:
        self.folder, self.canary = folder, canary
        self.path = folder

    def __call__(self, rng):
        """Damages the file and returns what reads it."""
        return self.put(*self.damage(rng), rng)

    def put(self, name: str, content: bytes, rng):
        """Writes the file, and all beside it whole; returns what reads it."""
        self.reset()
        self.path = self._write(name, content)
        return lambda: self.read(rng)

    def damage(self, rng) -> tuple[str, bytes]:
        """A file's name below the folder, and its damaged content."""
        raise NotImplementedError

    def reset(self) -> None:
        """Writes what is whole, and nothing else."""

    def read(self, rng) -> None:
        raise NotImplementedError

    def _write(self, name: str, content: bytes) -> pathlib.Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def _load(dataset: str, rng) -> None:
    from idql_tf import data
    from idql_tf.data import inspection

    validate = bool(rng.integers(2))
    loaded = data.load(dataset, validate=validate)
    assert not np.any(np.isin(loaded.rows, CANARY)), "read a file it should not"
    for array in (loaded.rows, loaded.actions, loaded.rewards):
        assert array.dtype == np.float32 and len(array)
        assert not validate or np.isfinite(array).all()
    assert loaded.index.min() >= 0 and loaded.index.max() + 1 < len(loaded.rows)
    assert loaded.dones[-1] and set(np.unique(loaded.masks)) <= {0.0, 1.0}
    inspection.format_report(inspection.inspect(loaded))


class Hdf5(Format):
    def damage(self, rng):
        return "data.hdf5", damaged_hdf5(flat(), rng, self.canary)

    def read(self, rng):
        _load(f"d4rl:{self.path}", rng)


class Npz(Format):
    def damage(self, rng):
        arrays, kind = flat(), ("npz", "ogbench")[rng.integers(2)]
        if rng.integers(2):
            arrays["next_observations"] = arrays["observations"] + 1
        if kind == "ogbench":
            arrays |= {"masks": 1.0 - arrays["terminals"], "valids": np.ones(12)}
        return f"{kind}.npz", damaged_npz(arrays, rng)

    def read(self, rng):
        _load(f"{self.path.stem}:{self.path}", rng)


class Minari(Format):
    def damage(self, rng):
        if rng.integers(2):
            content = damaged_hdf5(minari_arrays(), rng, self.canary)
            return "two-v0/data/main_data.hdf5", content
        return "two-v0/data/metadata.json", damaged_metadata(rng)

    def reset(self):
        self._write("two-v0/data/metadata.json", minari_metadata().encode())
        self._write("two-v0/data/main_data.hdf5", hdf5_bytes(minari_arrays()))

    def read(self, rng):
        _load(f"minari:{self.folder / 'two-v0'}", rng)


class Gin(Format):
    def damage(self, rng):
        text = GIN
        for _ in range(int(rng.integers(3))):
            text += _GIN_LINES[rng.integers(len(_GIN_LINES))] + "\n"
        content = text.encode()
        return "config.gin", damaged(content, rng) if rng.integers(2) else content

    def read(self, rng):
        from idql_tf import config
        from idql_tf.online import settings
        from idql_tf.runs import jobs
        from idql_tf.training import offline

        try:
            config.load([str(self.path)])
            config.current()
            # Where a setting of the wrong kind must be found at the latest.
            jobs.configured(offline.Settings)
            jobs.configured(settings.Settings)
        finally:
            gin.clear_config()


class _OfRun(Format):
    """A file of a run directory, read for a report."""

    def __init__(self, folder, canary):
        super().__init__(folder, canary)
        self.run = write_run(
            folder / "run", candidates=(1, 4), evaluations=2, episodes=2, maze=False
        )
        self._originals = {p.name: p.read_bytes() for p in self.run.iterdir()}

    def reset(self):
        for path in self.run.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, content in self._originals.items():
            (self.run / name).write_bytes(content)

    def _report(self, rng):
        from idql_tf.evaluation import report, summary

        if rng.integers(20):
            summary.format_table(summary.write(self.run))
        else:  # Many times as dear.
            report.write([self.run])


class Spec(_OfRun):
    def damage(self, rng):
        text = self._originals["spec.json"].decode()
        return "run/spec.json", damaged_json(text, rng)

    def read(self, rng):
        from idql_tf.runs import directory

        self._report(rng)
        try:
            directory.open_run(str(self.run), (), ())
        finally:
            gin.clear_config()


class Csv(_OfRun):
    def damage(self, rng):
        name = ("evaluations.csv", "metrics.csv")[rng.integers(2)]
        return f"run/{name}", damaged_table(self._originals[name].decode(), rng)

    def read(self, rng):
        self._report(rng)


class Maze(_OfRun):
    def damage(self, rng):
        arrays = maze_arrays(np.random.default_rng(0), 2, length=20)
        arrays["value"] = arrays["value"][:, ::10, ::10]
        arrays |= {name: arrays[name][::10] for name in ("value_x", "value_y")}
        return "run/maze.npz", damaged_npz(arrays, rng)

    def read(self, rng):
        from idql_tf.evaluation import maze_plot, records

        maze_plot.maze(records.read_run(self.run))


class Checkpoint(Format):
    def damage(self, rng):
        _, files = _learner()
        victim = list(files)[rng.integers(len(files))]
        return f"checkpoints/{victim}", damaged(files[victim], rng)

    def reset(self):
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        for name, content in _learner()[1].items():
            self._write(f"checkpoints/{name}", content)

    def read(self, rng):
        from idql_tf.training.checkpoints import Checkpoints

        keep = (None, 2)[rng.integers(2)]
        Checkpoints(self.path.parent, _learner()[0], keep).restore()


@functools.cache
def _learner():
    import tempfile

    import tiny_learner

    from idql_tf.training.checkpoints import Checkpoints

    learner = tiny_learner.learner([0])
    with tempfile.TemporaryDirectory() as name:
        Checkpoints(pathlib.Path(name), learner, 1).save()
        return learner, {p.name: p.read_bytes() for p in pathlib.Path(name).iterdir()}


FORMATS = {
    "hdf5": Hdf5,
    "npz": Npz,
    "minari": Minari,
    "gin": Gin,
    "spec": Spec,
    "csv": Csv,
    "maze": Maze,
    "checkpoint": Checkpoint,
}
REFUSAL = UserError
