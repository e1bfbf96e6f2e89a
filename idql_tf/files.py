"""Files and directories that are there whole or not at all, whatever happens."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import pathlib
import shutil
import socket
from collections.abc import Iterator
from typing import IO

from idql_tf.errors import UserError


@contextlib.contextmanager
def replacing(path: pathlib.Path, mode: str = "w") -> Iterator[IO]:
    """Opens a neighbour of `path` that takes its place once written and synced.

    Args:
      path: the file to write or replace; its directory is made if absent.
      mode: 'w' or 'wb'.

    Raises:
      OSError: the file cannot be written; the old one is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: pathlib.Path) -> None:
    """Has a file's content, or the names in a folder, outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes or replaces a text file in one step."""
    with replacing(path) as file:
        file.write(text)


def check_replaceable(path: pathlib.Path, beginning: str, flag: str) -> None:
    """Refuses to replace a file that begins otherwise than what will be written.

    Raises:
      UserError: so; `flag` is what named the file.
    """
    if not os.path.lexists(path) or path.is_dir():  # Which cannot be replaced.
        return
    try:
        if not path.is_file():
            raise OSError(errno.EINVAL, "it is no file")
        with open(path, encoding="utf-8", errors="replace") as file:
            begins = file.read(len(beginning)) in ("", beginning)
    except OSError as error:
        raise UserError(
            f"{flag} {path} cannot be replaced ({error.strerror}); name another file"
        ) from error
    if not begins:
        raise UserError(
            f"{flag} {path} exists and was not written by this command; nothing is "
            "overwritten; name another file"
        )


def read_text(path: pathlib.Path, errors: str = "strict") -> str:
    """Reads a text file; of a named pipe one would wait for ever.

    Raises:
      OSError: it is no file, or cannot be read.
      UnicodeDecodeError: it is not UTF-8, unless `errors` says otherwise.
    """
    if path.exists() and not path.is_file():
        raise IsADirectoryError(errno.EISDIR, "it is no file", str(path))
    return path.read_text(encoding="utf-8", errors=errors)


def beside(path: pathlib.Path, what: str) -> pathlib.Path:
    """`runs/mine` -> `/.../runs/mine-what`."""
    path = pathlib.Path(os.path.abspath(path))  # '..' has no name of its own.
    return path.with_name(f"{path.name}-{what}")


@contextlib.contextmanager
def locked(folder: pathlib.Path, to_read: bool = False) -> Iterator[None]:
    """Keeps other programs from writing into a folder at the same time.

    Args:
      folder: it must exist.
      to_read: let others read too.

    Raises:
      UserError: another program is at work on it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    kind = fcntl.LOCK_SH if to_read else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(
            f"{folder} is in use by another program; wait for it to end, or name "
            "another directory"
        ) from error
    finally:
        os.close(descriptor)


def check_plain(path: pathlib.Path) -> None:
    """Refuses a path in which TensorFlow would read patterns, or that is no text.

    Raises:
      UserError: so.
    """
    name = str(path.absolute())
    odd = sorted({c for c in name if c in "[]*?\\" or "\ud800" <= c <= "\udfff"})
    if odd:
        raise UserError(
            f"{name!r} contains {' '.join(map(repr, odd))}, which TensorFlow cannot "
            "have in a path; name or move it otherwise"
        )


def check_new(path: pathlib.Path) -> None:
    """Refuses a path that holds something, or that nothing can take the place of.

    Raises:
      UserError: it exists and is not an empty directory, or is a link or a mount, or
        is no path for TensorFlow.
    """
    check_plain(path)
    if os.path.islink(path) or os.path.ismount(path):
        raise UserError(
            f"{path} exists and is a link or a mount; name a directory in it as "
            "--output"
        )
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(
            f"{path} exists, and nothing is overwritten; name a new --output"
        )


@contextlib.contextmanager
def new_directory(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a sibling to write into, which becomes `path` if all went well.

    What killed programs left of earlier attempts is removed.

    Raises:
      UserError: `path` exists and is not an empty directory, or cannot be made.
    """
    check_new(path)
    # Absolute: Minari joins a relative directory to itself, and "." has no name.
    path = path.absolute()
    parent = path.parent
    mine = f".{path.name}.{socket.gethostname()}-"
    partial = parent / f"{mine}{os.getpid()}.partial"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f"{glob.escape(mine)}*.partial"):
            if not _is_running(left.name.removeprefix(mine).removesuffix(".partial")):
                shutil.rmtree(left, ignore_errors=True)
        partial.mkdir()
    except OSError as error:
        raise UserError(
            f"{path} cannot be made ({error.strerror}); name another --output"
        ) from error
    try:
        yield partial
        try:
            partial.rename(path)
        except OSError as error:
            raise UserError(
                f"{path} has been made meanwhile by another program, or cannot be "
                f"made ({error.strerror}); name another --output"
            ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_running(pid: str) -> bool:
    """Whether another program has it: our own number is that of a dead one."""
    try:
        if int(pid) == os.getpid():
            return False
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True
