import contextlib
import io
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "evaluation")]

import fuzz  # noqa: E402
import readers  # noqa: E402
import seeds  # noqa: E402


@pytest.mark.parametrize("name", ["hdf5", "npz", "minari", "spec", "csv"])
def test_a_few_damaged_files_are_refused_or_read(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seeds.write_canary(tmp_path / "canary.hdf5")
    make = readers.FORMATS[name](tmp_path / name, tmp_path / "canary.hdf5")
    refused = 0
    for number in range(12):
        read = make(np.random.default_rng([0, number]))
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                read()
        except readers.REFUSAL:
            refused += 1
    assert refused


@pytest.mark.parametrize("name", readers.FORMATS)
def test_every_kind_of_refusal_found_so_far_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make = readers.FORMATS[name](tmp_path / name, tmp_path / "no_canary")
    corpus = HERE / "corpus" / name
    files = [path for path in corpus.rglob("*") if path.is_file()]
    assert files
    for path in files:
        inside = str(path.parent.relative_to(corpus))
        read = make.put(inside, path.read_bytes(), np.random.default_rng(0))
        output = contextlib.redirect_stdout(io.StringIO())
        with output, pytest.raises(readers.REFUSAL) as refusal:
            read()
        assert "\n" not in str(refusal.value).partition("\n  In call to ")[0], path


def test_the_fuzz_hears_what_it_should(tmp_path):
    watch = fuzz.Watch(tmp_path / "inside")
    watch.found = []
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "fine").write_text("x")
    assert watch.found == []
    (tmp_path / "outside").write_text("x")
    subprocess.run(["true"], check=True)
    heard, watch.found = watch.found, None
    assert heard[0].startswith("open") and "outside" in heard[0]
    assert any(event.startswith("subprocess.Popen") for event in heard)


@pytest.mark.slow
def test_five_hundred_damaged_files(tmp_path):
    done = subprocess.run(
        [sys.executable, str(HERE / "fuzz.py"), "--files=500", f"--keep={tmp_path}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
