"""The repository as a stranger gets it: pins, scripts, licence, no stray paths."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from idql_tf.doctor.examination import setup_constant

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHELL_SCRIPTS = sorted([*(ROOT / "launch").glob("*.sh"), *(ROOT / ".ci").iterdir()])
PYTHON_SCRIPTS = sorted((ROOT / "launch").glob("*.py"))


def locked_versions():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def required_lines():
    return setup_constant("INSTALL_REQUIRES") + setup_constant("EXTRAS_REQUIRE")["dev"]


@pytest.mark.parametrize("line", required_lines())
def test_lock_satisfies_setup(line):
    requirement = Requirement(line)
    if requirement.marker and not requirement.marker.evaluate():
        pytest.skip(f"not for this Python or platform: {requirement.marker}")
    version = locked_versions().get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} is not in requirements.lock"
    assert requirement.specifier.contains(version), f"the lock has {version}"


def test_gpu_extra_is_the_same_tensorflow():
    core = Requirement(setup_constant("INSTALL_REQUIRES")[0])
    (gpu,) = map(Requirement, setup_constant("EXTRAS_REQUIRE")["gpu"])
    assert (core.name, core.specifier) == (gpu.name, gpu.specifier)
    assert gpu.extras == {"and-cuda"}


def test_lock_is_exact_and_names_no_host():
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if not line.startswith("#"):
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", line), line


def test_setup_reads_the_version_of_the_package():
    import idql_tf

    found = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split()[-1] == idql_tf.__version__


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_shell_script_parses(script):
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.fixture
def bare_machine(tmp_path):
    """Copies the scripts to a path with a space; gives a PATH without Python."""
    clone = tmp_path / "a clone"
    (clone / "launch").mkdir(parents=True)
    for script in (ROOT / "launch").glob("*.sh"):
        shutil.copy(script, clone / "launch")
    shutil.copy(ROOT / "requirements.lock", clone)
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "sha256sum", "cut", "flock", "grep", "sed"):
        (tools / tool).symlink_to(shutil.which(tool))
    home = tmp_path / "home"
    home.mkdir()
    return clone, {"PATH": str(tools), "HOME": str(home)}


def launch(script, environment):
    # From another directory: the scripts find the repository by themselves.
    return subprocess.run(
        [shutil.which("bash"), str(script)],
        cwd=environment["HOME"],
        env=environment,
        capture_output=True,
        text=True,
    )


def write_python(path, version_line):
    path.write_text(f"#!/bin/sh\necho '{version_line}' >&2\nexit 1\n")
    path.chmod(0o755)


@pytest.mark.parametrize("name", ["run_tests.sh", "quickstart.sh"])
def test_no_python_is_said_plainly(bare_machine, name):
    clone, environment = bare_machine
    done = launch(clone / "launch" / name, environment)
    assert done.returncode == 2, done.stderr
    assert "no Python 3.11" in done.stderr
    for cure in ("apt install python3.11", "pyenv install 3.11", "uv python install"):
        assert cure in done.stderr
    assert not (clone / ".venv").exists()


def test_unusable_pythons_are_named_with_the_reason(bare_machine):
    clone, environment = bare_machine
    on_path = pathlib.Path(environment["PATH"]) / "python3"
    write_python(on_path, "it is Python 3.13.0")
    pyenv = pathlib.Path(environment["HOME"]) / ".pyenv/versions/3.11.4/bin/python"
    pyenv.parent.mkdir(parents=True)
    write_python(pyenv, "the package python3.11-venv is missing")
    done = launch(clone / "launch" / "run_tests.sh", environment)
    assert done.returncode == 2
    assert f"{on_path}: it is Python 3.13.0" in done.stderr
    assert f"{pyenv}: the package python3.11-venv is missing" in done.stderr


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="wants Python 3.11 itself")
def test_finds_python_311_behind_one_that_is_broken(bare_machine):
    clone, environment = bare_machine
    write_python(pathlib.Path(environment["PATH"]) / "python3.11", "shim: not found")
    pyenv = pathlib.Path(environment["HOME"]) / ".pyenv/versions/3.11.4/bin/python"
    pyenv.parent.mkdir(parents=True)
    pyenv.symlink_to(sys._base_executable)
    script = clone / "launch" / "find.sh"
    script.write_text(
        "set -euo pipefail\n"
        'source "$(dirname -- "${BASH_SOURCE[0]}")/_environment.sh"\n'
        'find_python; say "found $FOUND_PYTHON"\n'
    )
    done = launch(script, environment)
    assert done.returncode == 0, done.stderr
    assert "found " in done.stdout


@pytest.mark.parametrize("script", PYTHON_SCRIPTS, ids=lambda path: path.name)
def test_launch_script_has_help(script, tmp_path):
    environment = dict(os.environ, CUDA_VISIBLE_DEVICES="")
    done = subprocess.run(
        [sys.executable, str(script), "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"launch/{script.name}" in done.stdout, "the help shows no example"


def test_licence():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.splitlines()[0] == "Copyright 2026 The idql_tf authors"
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_no_tracked_file_names_a_path_of_one_machine():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    # Put together here, so that this file is no hit itself.
    folders = "|".join(["wo" + "rk", "ro" + "ot", "tm" + "p"])
    needle = re.compile(rf"(?<![\w.~$}}/-])/({folders})/\w".encode())
    hits = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if needle.search(line):
                hits.append(f"{name}:{number}")
    assert not hits, hits
