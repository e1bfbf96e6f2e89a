"""Checks in a process of their own, which may crash or hang without harm."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from idql_tf.errors import UserError

_REINSTALL = "make the environment anew (bash launch/quickstart.sh does)"
_CURES = {
    signal.SIGILL: "TensorFlow's wheels need a processor with AVX; move to another",
    signal.SIGKILL: "the memory may have run out; free some",
}
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_START = """
import sys
sys.path = [{root!r}, *filter(None, sys.path)]
from idql_tf.doctor import child
child.serve()
"""


@dataclasses.dataclass(frozen=True)
class Check:
    """Something to try.

    Attributes:
      name: what the user reads.
      function: of a module of this room; gives what it found or raises what is wrong.
      arguments: its own, as JSON can hold them.
      without: what works all the same where it fails; None where nothing does.
      after: names of checks that must have gone well before.
      seconds: how long it may take.
    """

    name: str
    function: Callable[..., str]
    arguments: tuple[Any, ...] = ()
    without: str | None = None
    after: tuple[str, ...] = ()
    seconds: float = 120.0


class Child:
    """A process that runs one check after another, and a new one where it ends."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as we are

    def ask(self, check: Check) -> str:
        """Runs a check and returns what it found.

        Raises:
          UserError: what is wrong and the cure; also if the process died of it or does
            not answer.
        """
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process and self._process.stdin and self._process.stdout
        names = check.function.__module__, check.function.__name__
        request = json.dumps([*names, check.arguments])
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(request.encode() + b"\n")
            self._process.stdin.flush()
        stdout = self._process.stdout
        if not select.select([stdout], [], [], check.seconds)[0]:
            self.close()
            raise UserError(
                f"no answer within {check.seconds:g} s; try again on a machine that "
                f"does nothing else, or {_REINSTALL}"
            )
        line = stdout.readline()
        if not line:
            raise UserError(self._death())
        is_well, text = json.loads(line)
        if not is_well:
            raise UserError(text)
        return text

    def close(self) -> None:
        """Ends the process and what it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None

    def _start(self) -> None:
        self.close()
        self._said.seek(0)
        self._said.truncate()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(root=str(_ROOT))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ},
            # A group of its own, to be ended with what it starts.
            start_new_session=True,
        )

    def _death(self) -> str:
        assert self._process
        code = self._process.wait()
        try:
            number = signal.Signals(-code)
            how, cure = f"it crashed ({number.name})", _CURES.get(number, _REINSTALL)
        except ValueError:
            how, cure = f"it ended the process (exit code {code})", _REINSTALL
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        return f"{how}{f': {said[-1]:.160}' if said else ''}; {cure}"


def serve() -> None:
    """What the process does: runs the checks named on stdin, a line each."""
    # Its own copy of stdout, for libraries print to the other.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        module, name, arguments = json.loads(line)
        function = getattr(importlib.import_module(module), name)
        try:
            answer = True, function(*arguments)
        except UserError as error:
            answer = False, " ".join(str(error).split())
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
            answer = False, f"{reason}; {_REINSTALL}"
        print(json.dumps(answer), file=answers, flush=True)
