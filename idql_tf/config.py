"""gin files: where they are, how they compose, and what they may contain."""

from __future__ import annotations

import difflib
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
# Each runs in the scope of its name (`runs/studies.py`).
_STUDIES = r"figure\d|table\d"


def load(files: Sequence[str], params: Sequence[str] = ()) -> None:
    """Reads gin/base.gin, then `files` in order, then `params`.

    Raises:
      UserError: a file is missing, imports or includes anything (a gin import
        would run a stranger's code), names what neither this package nor the
        program that is run has registered, binds an unknown name, or a macro or
        scope that nothing asks for.
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
    given = [(f"--gin_param {param:.60}", param) for param in params]
    found = [(name, _parse(name, text)) for name, text in (*texts, *given)]
    _check_used(found[0][1], found[1:])


def _check_used(base: _Names, others: Sequence[tuple[str, _Names]]) -> None:
    """Refuses macros and scopes without use, and uses without a value, as gin does not.

    Raises:
      UserError: there is one, such as CRITC_STEPS, which would train with the default.
    """
    bound = base.macros.union(*(names.macros for _, names in others))
    used = base.macros.union(base.used, *(names.used for _, names in others))
    opened = base.opened.union(*(names.opened for _, names in others))
    for name, names in others:
        for unused in sorted(names.macros - used):
            near = difflib.get_close_matches(unused, sorted(used), 1)
            hint = f"did you mean {near[0]}?" if near else "see gin/base.gin"
            raise UserError(f"{name}: nothing uses {unused}; {hint}")
        for absent in sorted(names.used - bound):
            near = difflib.get_close_matches(absent, sorted(bound), 1)
            hint = f"did you mean %{near[0]}?" if near else "see gin/base.gin"
            raise UserError(f"{name}: nothing gives %{absent} a value; {hint}")
        for scope, selector in sorted(names.scopes):
            of_study = re.fullmatch(_STUDIES, scope) and selector in ("study", scope)
            if scope not in opened and not of_study:
                raise UserError(
                    f"{name}: nothing opens {scope}/ for {selector}; expected no "
                    "scope, or a study's, as in figure4/study.on"
                )


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
    others = rf"(.+/)?(cluster|sweep|study|{_STUDIES})"
    return re.sub(rf"# Parameters for {others}:\n(.+\n)+\n?", "", text)


def _read(name: str) -> str:
    path = pathlib.Path(name)
    if not path.is_file() and not path.is_absolute():
        path = ROOT / name
    if not path.is_file():
        raise UserError(f"gin file {name} not found; see the files under gin/")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"gin file {name} is not text: {error}") from error


class _Names(config_parser.ParserDelegate):
    """Reads references as plain names: nothing is looked up or run.

    Attributes:
      foreign: names that other packages have registered.
      macros: those that get a value.
      scopes: those that parameters are bound within, and of what.
      used: macros that a value asks for.
      opened: scopes of references.
    """

    def __init__(self) -> None:
        self.foreign: list[str] = []
        self.macros: set[str] = set()
        self.scopes: set[tuple[str, str]] = set()
        self.used: set[str] = set()
        self.opened: set[str] = set()

    def note(self, statement: config_parser.BindingStatement) -> None:
        """Takes down what a statement binds."""
        scopes = [scope for scope in (statement.scope or "").split("/") if scope]
        if statement.arg_name:
            self.scopes.update((scope, statement.selector) for scope in scopes)
            self._note_foreign(statement.selector)
        else:
            self.macros.add("/".join([*scopes, statement.selector]))

    def configurable_reference(
        self, scoped_configurable_name: str, evaluate: bool
    ) -> str:
        self.opened.update(scoped_configurable_name.split("/")[:-1])
        self._note_foreign(scoped_configurable_name)
        return scoped_configurable_name

    def _note_foreign(self, name: str) -> None:
        try:
            module = gin.get_configurable(name).__module__
        except ValueError:  # gin says so in its own words.
            module = __name__
        # What the program run defines is its user's choice.
        if module != "__main__" and not module.startswith("idql_tf."):
            self.foreign.append(name)

    def macro(self, macro_name: str) -> str:
        self.used.add(macro_name)
        return macro_name


def _parse(name: str, text: str) -> _Names:
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
            if isinstance(statement, config_parser.BindingStatement):
                names.note(statement)
        if names.foreign:  # TF-Agents has some that write files.
            raise UserError(
                f"{name}: {names.foreign[0]} belongs to another package; expected a "
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
        if word := re.match(r"malformed .* Failed to parse token '(\w+)'", message):
            message = f"{word[1]} is no value; a text needs quotes: '{word[1]}'"
        raise UserError(f"{name}: {message}") from error
    return names
