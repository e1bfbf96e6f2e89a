"""gin files: where they are, how they compose, and what they may contain."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence

import gin

from idql_tf.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[1]
BASE = ROOT / "gin" / "base.gin"
_IMPORT = re.compile(r"^\s*(?:import|from)\s+([\w.]+)", re.MULTILINE)
_INCLUDE = re.compile(r"^\s*include\s+(.+)$", re.MULTILINE)


def load(files: Sequence[str], params: Sequence[str] = ()) -> None:
    """Reads gin/base.gin, then `files` in order, then `params`.

    Raises:
      UserError: a file is missing, imports or includes anything (a gin import
        would run a stranger's code), or binds an unknown name.
    """
    register()
    texts = [(str(BASE), BASE.read_text())]
    texts += [(name, _read(name)) for name in files]
    gin.clear_config()
    for name, text in texts + [("--gin_param", param) for param in params]:
        _parse(name, text)


def load_text(text: str, name: str) -> None:
    """Reads one complete configuration, such as a run's config.gin.

    Raises:
      UserError: as `load`.
    """
    register()
    gin.clear_config()
    _parse(name, text)


def register() -> None:
    """Makes every configurable of the package known to gin."""
    import idql_tf.behavior.networks
    import idql_tf.behavior.updates
    import idql_tf.critic.updates
    import idql_tf.data
    import idql_tf.environments.collect
    import idql_tf.extraction
    import idql_tf.runs.evaluation
    import idql_tf.training.offline  # noqa: F401


def current() -> str:
    """The bindings in force, in an order that does not depend on the files."""
    return gin.config_str()


def _read(name: str) -> str:
    path = pathlib.Path(name)
    if not path.is_file() and not path.is_absolute():
        path = ROOT / name
    if not path.is_file():
        raise UserError(f"gin file {name} not found; see the files under gin/")
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise UserError(f"gin file {name} is not text: {error}") from error


def _parse(name: str, text: str) -> None:
    for pattern in (_IMPORT, _INCLUDE):
        found = pattern.search(text)
        if found:
            raise UserError(
                f"{name}: '{found.group(0).strip()}' is not allowed; "
                "pass several files with several --gin_file"
            )
    try:
        gin.parse_config(text, skip_unknown=False)
    except (ValueError, SyntaxError, TypeError, AttributeError) as error:
        message = " ".join(str(error).split())
        raise UserError(f"{name}: {message}") from error
