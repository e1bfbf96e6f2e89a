"""gin files: where they are, how they compose, and what they may contain."""

from __future__ import annotations

import pathlib
import re
import tokenize
from collections.abc import Sequence

import gin
from gin import config_parser

from idql_tf.errors import UserError

_PACKAGE = pathlib.Path(__file__).resolve().parent
# gin/ lies beside the package in a clone, and within it once installed.
ROOT = next(p for p in (_PACKAGE.parent, _PACKAGE) if (p / "gin/base.gin").is_file())
BASE = ROOT / "gin" / "base.gin"


def load(files: Sequence[str], params: Sequence[str] = ()) -> None:
    """Reads gin/base.gin, then `files` in order, then `params`.

    Raises:
      UserError: a file is missing, imports or includes anything (a gin import
        would run a stranger's code), names what another package has registered, or
        binds an unknown name.
    """
    texts = [(str(BASE), BASE.read_text())]
    _load(texts + [(name, _read(name)) for name in files], params)


def load_text(
    text: str, name: str, files: Sequence[str] = (), params: Sequence[str] = ()
) -> None:
    """Reads a complete configuration, such as a run's config.gin, then additions.

    Raises:
      UserError: as `load`.
    """
    _load([(name, text)] + [(file, _read(file)) for file in files], params)


def _load(texts: Sequence[tuple[str, str]], params: Sequence[str]) -> None:
    register()
    gin.clear_config()
    for name, text in (*texts, *(("--gin_param", param) for param in params)):
        _parse(name, text)


def add_defaults() -> None:
    """Binds what gin/base.gin binds and nothing else has.

    For programs with a gin configuration of their own, or with none.
    """
    register()
    with gin.unlock_config():
        for line in BASE.read_text().splitlines():
            name, is_binding, _ = line.partition(" = ")
            if is_binding and not line.startswith("#") and not _is_bound(name):
                gin.parse_config(line)


def _is_bound(name: str) -> bool:
    try:
        gin.query_parameter(name if "." in name else f"%{name}")
    except ValueError:
        return False
    return True


def register() -> None:
    """Makes every configurable of the package known to gin."""
    import idql_tf.behavior.categorical
    import idql_tf.behavior.gaussian
    import idql_tf.behavior.networks
    import idql_tf.behavior.updates
    import idql_tf.benchmark.suite
    import idql_tf.critic.advantages
    import idql_tf.critic.updates
    import idql_tf.data
    import idql_tf.environments.collect
    import idql_tf.experiments.ablations
    import idql_tf.experiments.tables
    import idql_tf.extraction
    import idql_tf.online.settings
    import idql_tf.runs.evaluation
    import idql_tf.runs.placement
    import idql_tf.training.offline  # noqa: F401


def current() -> str:
    """The bindings in force, in an order that does not depend on the files.

    Where a run is computed, and beside which others, is no part of what it computes:
    `cluster`, `sweep`, `study` and the studies are left out.
    """
    text = gin.config_str()
    others = r"(.+/)?(cluster|sweep|study|figure\d|table\d)"
    return re.sub(rf"# Parameters for {others}:\n(.+\n)+\n?", "", text)


def _read(name: str) -> str:
    path = pathlib.Path(name)
    if not path.is_file() and not path.is_absolute():
        path = ROOT / name
    if not path.is_file():
        raise UserError(f"gin file {name} not found; see the files under gin/")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"gin file {name} is not text: {error}") from error


class _Names(config_parser.ParserDelegate):
    """Reads references as plain names: nothing is looked up or run.

    Attributes:
      foreign: names that other packages have registered.
    """

    def __init__(self) -> None:
        self.foreign: list[str] = []

    def configurable_reference(
        self, scoped_configurable_name: str, evaluate: bool
    ) -> str:
        try:
            module = gin.get_configurable(scoped_configurable_name).__module__
        except ValueError:  # gin says so in its own words.
            module = __name__
        if not module.startswith("idql_tf."):
            self.foreign.append(scoped_configurable_name)
        return scoped_configurable_name

    def macro(self, macro_name: str) -> str:
        return macro_name


def _parse(name: str, text: str) -> None:
    names = _Names()
    try:
        for statement in config_parser.ConfigParser(text, names):
            if isinstance(
                statement,
                (config_parser.ImportStatement, config_parser.IncludeStatement),
            ):
                raise UserError(
                    f"{name}: import and include are not allowed (line "
                    f"{statement.location.line_num}); pass several files with "
                    "several --gin_file"
                )
        if names.foreign:  # TF-Agents has some that write files.
            raise UserError(
                f"{name}: @{names.foreign[0]} belongs to another package; expected a "
                "configurable of idql_tf, as in gin/base.gin"
            )
        gin.parse_config(text, skip_unknown=False)
    except UserError:
        raise
    except (
        ValueError,
        SyntaxError,
        TypeError,
        AttributeError,
        RecursionError,
        tokenize.TokenError,
    ) as error:
        message = " ".join(str(error).split())
        raise UserError(f"{name}: {message}") from error
