"""How programs end (contract C6): exit codes, signals and the one line of reason."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn, TextIO

from absl import flags

from idql_tf.errors import Failure, UserError, in_one_line

DONE, FAILED, BAD_USAGE, RESUMABLE = 0, 1, 2, 75


def open_standard_files() -> None:
    """Opens what the caller has closed: the next file would get its number.

    What a terminal of another encoding cannot show is shown as `?`.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


class Termination:
    """Ends the program by an exception, so that what is half done is cleaned up.

    Attributes:
      received: whether SIGTERM came. Libraries swallow exceptions while they are
        imported; who asks later learns it from here.
    """

    received = False

    def __call__(self, number: int, _: object) -> NoReturn:
        """The signal's handler."""
        self.received = True
        sys.exit(128 + number)


def stopping() -> list[signal.Signals]:
    """The signals that ask a program to stop.

    A terminal that is closed sends SIGHUP; nohup has it ignored.
    """
    asked = [signal.SIGTERM, signal.SIGINT]
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return asked if ignored else [*asked, signal.SIGHUP]


def terminable() -> None:
    """The signals end the program by an exception, and by no other way."""
    termination = Termination()
    for number in stopping():
        if number != signal.SIGINT:
            signal.signal(number, termination)
    sys.unraisablehook = _send_again


def _send_again(lost: sys.UnraisableHookArgs) -> None:
    """Sends a signal once more whose exception Python dropped, as within __del__."""
    code = getattr(lost.exc_value, "code", None)
    if lost.exc_type is KeyboardInterrupt:
        code = 128 + signal.SIGINT
    if code in [128 + number for number in stopping()]:
        again = threading.Timer(0.1, os.kill, (os.getpid(), code - 128))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)


@contextlib.contextmanager
def ended_at_once() -> Iterator[None]:
    """Signals end the program, though libraries swallow exceptions."""

    def end(number: int, _: object) -> NoReturn:
        os._exit(128 + number)

    before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Ends the program by its exit code, after one line where the reason is known."""
    try:
        yield
    except (UserError, flags.Error) as error:
        # gin appends where in the configuration an exception passed through.
        message = str(error).partition("\n  In call to configurable")[0]
        _fail(" ".join(message.split()), BAD_USAGE)
    except KeyboardInterrupt:
        _end("interrupted", 128 + signal.SIGINT)
    except BrokenPipeError:  # Nobody reads on, as after `| head`.
        sys.exit(FAILED)
    except (Failure, FloatingPointError) as error:
        _fail(str(error))
    except Exception as error:
        _explain(error)
        raise
    finally:
        # Python would try once more to write what could not be, and exit with 120.
        try:
            sys.stdout.flush()
        except OSError:
            _silence(sys.stdout)


# What the system refuses: because of what the user named, or because of the machine.
_MISNAMED = (
    *(errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EISDIR, errno.ENOTDIR),
)
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def _explain(error: Exception) -> None:
    """Ends with one line where the system's refusal is the reason; else returns.

    From Python it is an OSError, from TensorFlow one of a dozen kinds, with its words.
    """
    said = in_one_line(error)
    number = error.errno if isinstance(error, OSError) else None
    for code in _MACHINE:
        if number == code or os.strerror(code) in str(error):
            _fail(
                f"{os.strerror(code)} ({said}); what was saved before is whole: mend "
                "that and run the same command again"
            )
    of_tensorflow = type(error).__module__.startswith("tensorflow")
    named = isinstance(error, OSError) and error.filename is not None
    for code in _MISNAMED:
        if (named and number == code) or (
            of_tensorflow and os.strerror(code) in str(error)
        ):
            reason = f"{os.strerror(code)} ({said}); name another path, or allow it"
            _fail(reason, BAD_USAGE)


def _fail(reason: str, code: int = FAILED) -> NoReturn:
    """Says why the work failed."""
    _end(f"error: {reason}", code)


def _end(line: str, code: int) -> NoReturn:
    """Ends with a line; what libraries say while they end is not heard."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    _silence(sys.stderr)
    sys.exit(code)


def _silence(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
