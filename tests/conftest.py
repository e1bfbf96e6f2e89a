import contextlib
import os
import pathlib
import shutil
import socket
import subprocess

import pytest
import tiny_run
from paths import REPOSITORY
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class _ExportsTogether(LoadScopeScheduling):
    """Single tests to whoever is free, but tests/export to one: its fixtures are dear.

    xdist's own groups do nothing under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = "tests/export/"
        return folder if nodeid.startswith(folder) else nodeid


def pytest_collection_modifyitems(items):
    """The longest first, so that no worker ends long after the other."""
    items.sort(key=lambda item: not item.nodeid.startswith(("tests/runs", "tests/exp")))


def pytest_xdist_make_scheduler(config, log):
    return _ExportsTogether(config, log)


def _shared_datasets() -> pathlib.Path | None:
    """The folder of real datasets, where this checkout has one."""
    for path in (
        os.environ.get("MINARI_DATASETS_PATH"),
        REPOSITORY.parent / "shared" / "datasets",
    ):
        if path and (pathlib.Path(path) / "d4rl-like").is_dir():
            return pathlib.Path(path)
    return None


@pytest.fixture
def shared_datasets(monkeypatch) -> pathlib.Path:
    """Real datasets; the test is skipped, and says so, where they are absent."""
    path = _shared_datasets()
    if path is None:
        pytest.skip("real datasets not found: set MINARI_DATASETS_PATH")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(path))
    return path


@pytest.fixture(scope="session")
def maze(tmp_path_factory) -> str:
    """A dataset of five episodes in a maze, collected here."""
    from idql_tf.environments.collect import collect

    path = tmp_path_factory.mktemp("data") / "maze"
    # Of seed 0's five episodes one is rewarded, of seed 4's two, for longer.
    collect("PointMaze_UMaze-v3", 1_500, str(path), 4)
    return f"minari:{path}"


@pytest.fixture(scope="session")
def finished(maze, tmp_path_factory) -> tuple[pathlib.Path, str, str]:
    """A run trained in one go, two seeds; what it printed, and evaluations.csv."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    result = tiny_run.run(tiny_run.train(maze, run_dir, "--seeds=0,4"))
    tiny_run.check_quiet(result)
    return run_dir, result.stdout, (run_dir / "evaluations.csv").read_text()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MB, and a function that fills it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("no right to mount a small file system")

    def fill():
        with contextlib.suppress(OSError), open(folder / "filler", "wb", 0) as file:
            while True:
                file.write(bytes(4_096))
        return folder / "filler"

    yield folder, fill
    subprocess.run(["umount", "-l", str(folder)], check=True)
