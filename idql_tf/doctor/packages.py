"""Python, the packages that setup.py wants, and the configuration.

Nothing but Python's own is imported at the top: what is wrong may be an import. Here
and in its neighbours a check returns what it found, or raises what is wrong.
"""

from __future__ import annotations

import importlib
import importlib.util
import platform
import re
import sys
from collections.abc import Sequence
from importlib import metadata

from idql_tf.errors import UserError

INSTALL = "pip install -r requirements.lock"
_ACTIVATE = "bash launch/quickstart.sh makes .venv, then . .venv/bin/activate"
# Where a package's name is not what is imported.
_MODULES = {
    "absl-py": "absl",
    "dm-reverb": "reverb",
    "gin-config": "gin",
    "setuptools": "pkg_resources",
}


def python(wanted: str) -> str:
    """The version of Python, beside one like '>=3.10,<3.12'."""
    least, limit = (
        tuple(map(int, text.split("."))) for text in re.findall(r"\d+\.\d+", wanted)
    )
    found = f"{platform.python_version()} ({sys.executable})"
    if not least <= sys.version_info[:2] < limit:
        raise UserError(f"{found} is not {wanted}; {_ACTIVATE}")
    return f"{found}, wanted {wanted}"


def environment() -> str:
    """Where packages are looked for, if anything is there."""
    if not importlib.util.find_spec("packaging"):
        raise UserError(
            f"{sys.prefix} has nothing of requirements.lock, not even packaging; "
            f"{_ACTIVATE}"
        )
    return sys.prefix


def package(line: str) -> str:
    """A requirement of setup.py: the version there is, and that it can be imported."""
    from packaging.requirements import Requirement

    wanted = Requirement(line)
    if wanted.marker and not wanted.marker.evaluate():
        return f"not for this Python or platform: {wanted.marker}"
    try:
        found = metadata.version(wanted.name)
    except metadata.PackageNotFoundError as error:
        raise UserError(f"not installed, wanted {line}; {INSTALL}") from error
    if not wanted.specifier.contains(found, prereleases=True):
        raise UserError(f"{found} found, {wanted.specifier} wanted; {INSTALL}")
    module = _MODULES.get(wanted.name, wanted.name.replace("-", "_"))
    importlib.import_module(module)
    return f"{found}, wanted {wanted.specifier}"


def extra(lines: Sequence[str]) -> str:
    """The versions of an extra's packages, where it is installed."""
    from packaging.requirements import Requirement

    found, wrong, missing = [], [], []
    for wanted in map(Requirement, lines):
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            missing.append(wanted.name)
            continue
        found.append(f"{wanted.name} {version}")
        if not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{found[-1]} is not {wanted.specifier}")
    if wrong:
        raise UserError(f"{', '.join(wrong)}; {INSTALL}, then the extra")
    if missing:
        found.append(f"not installed: {', '.join(missing)}")
    return ", ".join(found)


def configuration(gin_files: Sequence[str], gin_params: Sequence[str]) -> str:
    """gin/base.gin and what was named beside it."""
    from idql_tf import config

    config.load(gin_files, gin_params)
    return ", ".join(["gin/base.gin", *gin_files, *gin_params]) + " can be used"
