import pathlib
import subprocess
from typing import NamedTuple

import exporting
import pytest
import tensorflow as tf
import tiny_run

from idql_tf.policies import IdqlPolicy


class Exported(NamedTuple):
    """A model, the run it was made of, and what launch/export.py said."""

    folder: pathlib.Path
    run_dir: pathlib.Path
    result: subprocess.CompletedProcess


@pytest.fixture(scope="session")
def exported(finished, tmp_path_factory) -> Exported:
    """The run's default: argmax of 64 candidates, its first seed, float32."""
    folder, run_dir = tmp_path_factory.mktemp("exports") / "model", finished[0]
    flags = [f"--run_dir={run_dir}", f"--output={folder}"]
    result = tiny_run.run(tiny_run.script("export.py", *flags))
    assert result.returncode == 0, result.stderr
    return Exported(folder, run_dir, result)


@pytest.fixture(scope="session")
def rounded(finished, tmp_path_factory) -> Exported:
    """In bfloat16, by implicit weights among 6 candidates, 2 steps, its second seed."""
    folder, run_dir = tmp_path_factory.mktemp("rounded") / "model", finished[0]
    flags = ["--bfloat16", "--extraction=implicit", "--num_candidates=6", "--seed=4"]
    few_steps = f"--gin_param={exporting.FEW_STEPS}"
    result = exporting.launch(run_dir, folder, *flags, few_steps)
    tiny_run.check_quiet(result)
    return Exported(folder, run_dir, result)


@pytest.fixture(scope="session")
def model(exported) -> tf.Module:
    return tf.saved_model.load(str(exported.folder))


@pytest.fixture(scope="session")
def policy(exported) -> IdqlPolicy:
    """What `exported` was made of, in memory."""
    return exporting.make_policy(exported.run_dir, 0, 64, "argmax")
