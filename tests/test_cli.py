"""What every launch script answers to the system's refusals."""

import errno
import os
import subprocess
import sys

import pytest
from paths import REPOSITORY

PROGRAM = """
import errno, os, sys
from absl import flags
from idql_tf import cli
PLACE = flags.DEFINE_string("place", None, "")
def main():
    {body}
cli.run(main, import_libraries=False)
"""


def _ran(body, *args, redirect="", environment=None):
    environment = dict(os.environ if environment is None else environment)
    # Where Python does not buffer, print fails, and not what comes after it.
    environment.pop("PYTHONUNBUFFERED", None)
    # What runs the tests may ignore some, as nohup and a shell's & do.
    command = ["env", "--default-signal=HUP,INT", sys.executable, "-c"]
    command += [PROGRAM.format(body=body), *args]
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirect}', "sh", *command],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
    )


@pytest.mark.parametrize(
    "raised, code, said",
    [
        ("PermissionError(errno.EACCES, 'Permission denied', '/x')", 2, "'/x'"),
        ("OSError(errno.ENAMETOOLONG, 'File name too long', '/x')", 2, "too long"),
        ("IsADirectoryError(errno.EISDIR, 'Is a directory', '/x')", 2, "directory"),
        ("OSError(errno.EROFS, 'Read-only file system', '/x')", 1, "Read-only"),
        ("OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))", 1, "quota"),
        ("RuntimeError('SaveV2: x; File too large')", 1, "File too large"),
    ],
)
def test_what_the_system_refuses_is_one_line(raised, code, said):
    done = _ran(f"raise {raised}")
    assert done.returncode == code
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0]


def test_an_error_of_the_program_keeps_its_traceback():
    done = _ran(f"raise FileNotFoundError({errno.ENOENT}, 'absent', 'x')")
    assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_closed_stream(closed, tmp_path):
    file = tmp_path / "data"
    body = f"open({str(file)!r}, 'w').write(str(os.open('/', 0))); print('x')"
    done = _ran(f"{body}; os.write(2, b'chatter')", redirect=closed)
    assert done.returncode == 0
    assert file.read_text().isdecimal() and int(file.read_text()) > 2


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_no_room_for_what_is_printed_is_one_line(arguments):
    done = _ran("print('a table')", *arguments, redirect="> /dev/full")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "No space left on device" in done.stderr


@pytest.mark.parametrize(
    "body, code, redirect",
    [
        ("raise errors.UserError('x')", 2, "> /dev/full"),
        ("raise errors.UserError('x')", 2, "> /dev/full 2> /dev/full"),
        ("raise errors.Failure('x')", 1, "> /dev/full 2> /dev/full"),
        ("raise KeyboardInterrupt", 130, "> /dev/full"),
        ("os.kill(os.getpid(), 15)", 143, "> /dev/full"),
        ("raise ValueError('x')", 1, "> /dev/full"),
        ("return 75", 1, "> /dev/full"),  # what it printed is lost
    ],
)
def test_the_exit_code_outlives_a_full_device(body, code, redirect):
    done = _ran(f"from idql_tf import errors; print('x'); {body}", redirect=redirect)
    assert done.returncode == code


@pytest.mark.parametrize("number, code", [(15, 143), (2, 130), (1, 129)])
def test_a_signal_whose_exception_is_lost_comes_again(number, code):
    body = f"""
    class Lost:
        def __del__(self):
            os.kill(os.getpid(), {number})
    import time
    Lost()
    time.sleep(20)
    """
    done = _ran(body)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_closed_terminal_ends_the_program_unless_nohup_was_asked():
    body = "os.kill(os.getpid(), 1); print('went on')"
    ended = _ran(body)
    assert (ended.returncode, ended.stdout) == (129, "")
    command = ["nohup", *ended.args[6:]]
    kept = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert (kept.returncode, kept.stdout) == (0, "went on\n")


def test_what_a_terminal_cannot_show_is_no_error():
    latin = {"PYTHONIOENCODING": "latin-1"}
    done = _ran("print('\\u2588 whole')", environment=latin)
    assert done.returncode == 0 and done.stdout == "? whole\n"


def test_a_tilde_is_the_home(tmp_path):
    home = {"HOME": str(tmp_path)}
    done = _ran("print(PLACE.value)", "--place=~/runs", environment=home)
    assert done.stdout == f"{tmp_path}/runs\n", done.stderr
