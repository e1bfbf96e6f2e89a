"""What `launch/doctor.py` does; it runs where nothing but Python is installed."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import pathlib
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from idql_tf import files
from idql_tf.doctor import libraries, machine, packages
from idql_tf.doctor.child import Check, Child
from idql_tf.errors import UserError

_SETUP = pathlib.Path(__file__).resolve().parents[2] / "setup.py"
_ON_TENSORFLOW = {"tf-agents", "dm-reverb"}
_OFFLINE = "offline training works without it"


@dataclasses.dataclass(frozen=True)
class Result:
    """What a check found.

    Attributes:
      name: of the check.
      status: 'ok', 'warning', 'failed' or 'skipped'.
      text: what was found; what is wrong and the cure.
      seconds: how long it took.
    """

    name: str
    status: str
    text: str
    seconds: float


def examine(
    run_dir: str = ".",
    gin_files: Sequence[str] = (),
    gin_params: Sequence[str] = (),
    json_file: str | None = None,
) -> int:
    """Tries everything that the package needs and prints a line on each.

    Args:
      run_dir: where runs are to be written; nothing is left there.
      gin_files: to be read after gin/base.gin.
      gin_params: to be read last.
      json_file: where the results go as JSON; None for nowhere.

    Returns:
      The exit code: 0 if all that is needed works, else 1.

    Raises:
      UserError: the JSON file cannot be written, or is another than such results.
    """
    if json_file is not None:
        _check_writable(json_file)
    began = time.monotonic()
    results = []
    for result in run(checks(run_dir, gin_files, gin_params)):
        results.append(result)
        print(f"{result.status:8} {result.name:19} {result.text}", flush=True)
    failed, warnings = (
        sum(result.status == status for result in results)
        for status in ("failed", "warning")
    )
    verdict = "something needed is wrong" if failed else "everything needed works here"
    print(
        f"{verdict}; {len(results)} checks, failed: {failed}, warnings: {warnings}; "
        f"{time.monotonic() - began:.0f} s"
    )
    if json_file is not None:
        found = {
            "works": not failed,
            "checks": [dataclasses.asdict(r) for r in results],
        }
        text = json.dumps(found, indent=1) + "\n"
        files.write_atomically(pathlib.Path(json_file), text)
    return 1 if failed else 0


def _check_writable(name: str) -> None:
    """Tries the place before the work is done."""
    path = pathlib.Path(name)
    try:
        if path.is_dir():
            raise OSError("it is a folder")
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            files.check_replaceable(path, '{\n "works"', "--json")
    except UserError:
        raise
    except (OSError, ValueError) as error:
        reason = error.args[-1] if error.args else type(error).__name__
        raise UserError(
            f"--json {name:.80}: nothing can be written there ({reason!s:.80}); name "
            "another file"
        ) from error


def checks(
    run_dir: str, gin_files: Sequence[str], gin_params: Sequence[str]
) -> list[Check]:
    """All checks, in order; what setup.py wants is read from it."""
    tensorflow = ("tensorflow",)
    made = [
        Check("Python", packages.python, (setup_constant("PYTHON_REQUIRES"),)),
        Check("environment", packages.environment),
    ]
    for line in setup_constant("INSTALL_REQUIRES"):
        name = re.split(r"[^\w-]", line)[0]
        without = _OFFLINE if name == "dm-reverb" else None
        after = tensorflow if name in _ON_TENSORFLOW else ("environment",)
        made.append(Check(name, packages.package, (line,), without, after))
    for name, lines in setup_constant("EXTRAS_REQUIRE").items():
        if name != "gpu":  # The check of the GPU tells of it.
            made.append(
                Check(
                    f"extra [{name}]",
                    packages.extra,
                    (lines,),
                    without="the rest works",
                    after=("environment",),
                )
            )
    return [
        *made,
        Check(
            "configuration",
            packages.configuration,
            (gin_files, gin_params),
            after=("tensorflow", "tf-agents", "gin-config"),
        ),
        Check(
            "MuJoCo steps",
            libraries.simulation,
            after=("gymnasium", "gymnasium-robotics", "mujoco"),
        ),
        Check(
            "MuJoCo renders",
            libraries.rendering,
            without="only videos need it",
            after=("mujoco",),
        ),
        Check("XLA", libraries.compiled_step, after=tensorflow),
        Check("GPU", libraries.gpu, (), libraries.ON_CPU, tensorflow),
        Check("SavedModel", libraries.saved_model, after=tensorflow),
        Check(
            "replay server",
            libraries.replay,
            without=_OFFLINE,
            after=("tensorflow", "dm-reverb"),
        ),
        Check("run directory", machine.run_directory, (run_dir,)),
        Check("disk", machine.disk, (run_dir,), "small runs may fit"),
        Check("memory", machine.memory, (), "small data may fit"),
        Check("Minari datasets", machine.datasets, (), "other sources work"),
    ]


def setup_constant(name: str) -> Any:
    """Reads a literal of setup.py, the one place of what is wanted, without running it.

    Raises:
      KeyError: it has none of that name.
    """
    for node in ast.parse(_SETUP.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    raise KeyError(f"setup.py has no {name}")


def run(chosen: Sequence[Check]) -> Iterator[Result]:
    """Runs checks in turn, each in another process than this one."""
    names = {check.name for check in chosen}
    went_well: set[str] = set()
    with contextlib.closing(Child()) as child:
        for check in chosen:
            began = time.monotonic()
            status, text = "skipped", ""
            missing = [x for x in check.after if x in names - went_well]
            if missing:
                text = f"not tried without {', '.join(missing)}"
            else:
                with _told(check.name):
                    status, text = _outcome(child, check)
            if status == "ok":
                went_well.add(check.name)
            yield Result(check.name, status, text, time.monotonic() - began)


def _outcome(child: Child, check: Check) -> tuple[str, str]:
    try:
        return "ok", child.ask(check)
    except UserError as error:
        text = str(error)
    if check.without is None:
        return "failed", text
    return "warning", text if check.without in text else f"{text}; {check.without}"


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Says on a terminal what is being tried."""
    if not sys.stdout.isatty():
        yield
        return
    print(f"...      {name}", end="", flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", flush=True)
