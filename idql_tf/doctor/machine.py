"""Where runs and datasets lie, and what room there is."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import tempfile

from idql_tf import files
from idql_tf.errors import UserError

_GIB = 2**30
_LEAST_BYTES = 2 * _GIB


def run_directory(path: str) -> str:
    """Whether runs can be written there; nothing stays."""
    folder = pathlib.Path(path).absolute()
    files.check_plain(folder)
    there = _existing(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=there) as name:
            files.write_atomically(pathlib.Path(name) / "run" / "spec.json", "{}")
            with files.locked(pathlib.Path(name)):
                pass
    except OSError as error:
        raise UserError(
            f"{there} cannot be written ({error.strerror}); name another --run_dir"
        ) from error
    return f"{there} can be written"


def disk(path: str) -> str:
    """Free space where runs are written."""
    there = _existing(pathlib.Path(path).absolute())
    if not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    return _enough(free, f"free on the disk of {there}")


def memory() -> str:
    """What may be used of the memory: the machine's, and the container's."""
    found = re.search(
        r"MemAvailable: +(\d+) kB", pathlib.Path("/proc/meminfo").read_text()
    )
    free = [int(found[1]) * 1024] if found else []
    group = pathlib.Path("/sys/fs/cgroup")
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        if (group / limit).is_file():
            text = (group / limit).read_text().strip()
            if text != "max":
                free.append(int(text) - int((group / used).read_text()))
    return _enough(min(free), "of memory available")


def datasets() -> str:
    """The folder of Minari's datasets."""
    named = os.environ.get("MINARI_DATASETS_PATH")
    folder = pathlib.Path(named or "~/.minari/datasets").expanduser()
    if folder.is_dir():
        count = sum(1 for _ in folder.rglob("data/metadata.json"))
        return f"{count} in {folder}"
    if named:
        raise UserError(
            f"MINARI_DATASETS_PATH={named} is no folder; make it, or name another"
        )
    return f"none in {folder}; minari:ID downloads to it"


def _existing(path: pathlib.Path) -> pathlib.Path:
    """The first of a path and its parents that is there; a dangling link is, too."""
    for place in (path, *path.parents):
        # Not lexists: it calls a name that is too long absent.
        try:
            os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            reason = f"{error.strerror}; name another"
            raise UserError(f"--run_dir {str(path):.60}: {reason}") from error
        return place
    return path


def _enough(free: int, what: str) -> str:
    text = f"{free / _GIB:.1f} GiB {what}"
    if free < _LEAST_BYTES:
        raise UserError(f"{text}, expected {_LEAST_BYTES / _GIB:g}; free some")
    return text
