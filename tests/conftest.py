import os
import pathlib

import pytest
from paths import REPOSITORY

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


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
