"""Directories that are there whole or not at all."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

from idql_tf import files
from idql_tf.errors import UserError


def _partial(path, host, pid):
    left = path.with_name(f".{path.name}.{host}-{pid}.partial")
    left.mkdir()
    (left / "data").write_text("half")
    return left


def test_an_empty_directory_is_filled(tmp_path):
    with files.new_directory(tmp_path) as partial:
        assert partial.parent == tmp_path.parent and not [*tmp_path.iterdir()]
        (partial / "data").write_text("whole")
    assert (tmp_path / "data").read_text() == "whole" and not partial.exists()


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), files.new_directory(tmp_path / "new" / "it"):
        raise ZeroDivisionError
    assert [*tmp_path.rglob("*")] == [tmp_path / "new"]


def test_who_comes_second_is_refused_and_leaves_nothing(tmp_path):
    path = tmp_path / "it"
    with (
        pytest.raises(UserError, match="made meanwhile by another program"),
        files.new_directory(path),
    ):
        path.mkdir()
        (path / "data").write_text("first")
    assert [*tmp_path.rglob("*")] == [path, path / "data"]


@pytest.mark.parametrize("name", ["a[b", "a*", "a?", "a\\b", "a\udcff"])
def test_paths_that_tensorflow_cannot_have_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="which TensorFlow cannot"):
        files.check_plain(tmp_path / name / "model")


@pytest.mark.parametrize("make", ["mkdir", "touch"])
def test_what_exists_is_left_alone(tmp_path, make):
    path = tmp_path / "it"
    getattr(path, make)()
    if make == "mkdir":
        (path / "data").write_text("mine")
    refused = pytest.raises(UserError, match="it exists, and nothing is overwritten")
    with refused, files.new_directory(path):
        raise AssertionError
    assert path.exists() and len([*tmp_path.iterdir()]) == 1


def test_a_link_is_not_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with pytest.raises(UserError, match="is a link or a mount"):
        files.check_new(tmp_path / "link")
    with pytest.raises(UserError, match="is a link or a mount"):
        files.check_new(pathlib.Path("/proc"))


def test_the_current_directory_is_filled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with files.new_directory(pathlib.Path(".")) as partial:
        (partial / "data").write_text("whole")
    assert (tmp_path / "data").read_text() == "whole"


def test_only_what_the_dead_left_here_is_removed(tmp_path):
    """Others' work goes on: of running programs, of other hosts, of other names."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    path, here = tmp_path / "it", socket.gethostname()
    dead = _partial(path, here, process.pid)
    # In a container every program may have this number.
    same = _partial(path, here, os.getpid())
    (same / "more").touch()
    kept = {
        _partial(path, here, os.getppid()),
        _partial(path, "elsewhere", process.pid),
        _partial(tmp_path / "it2", here, process.pid),
        _partial(path, here, "x"),
    }
    with files.new_directory(path):
        assert not dead.exists() and not (same / "more").exists()
    assert {*tmp_path.iterdir()} == kept | {path}


def test_only_what_a_command_has_written_is_replaced(tmp_path):
    page, other = tmp_path / "page", tmp_path / "other"
    page.write_text("<!DOCTYPE html> old")
    other.write_text("precious")
    for path in (page, tmp_path / "absent", tmp_path):
        files.check_replaceable(path, "<!DOCTYPE html>", "--output")
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((other, "nothing is overwritten"), (tmp_path / "pipe", "file")):
        with pytest.raises(UserError, match=words):
            files.check_replaceable(path, "<!DOCTYPE html>", "--output")
