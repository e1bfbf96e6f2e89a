"""launch/doctor.py as a user runs it, and checks that fail, crash and hang."""

import json
import pathlib
import subprocess
import sys
import time
import venv

import pytest
import tiny_run
from paths import REPOSITORY

from idql_tf.doctor import examination, libraries, machine, packages
from idql_tf.doctor.child import Check
from idql_tf.doctor.examination import setup_constant
from idql_tf.errors import UserError

# What stands in the place of a package, by its name.
MODULES = {
    "matplotlib": "raise ImportError('libfreetype.so is missing')",
    "scipy": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "minari": "print('a word'); import os; os.write(2, b'its last words'); os._exit(3)",
    "rich": (
        "import subprocess, time\n"
        "open({pid!r}, 'w').write(str(subprocess.Popen(['sleep', '99']).pid))\n"
        "time.sleep(99)"
    ),
    "reverb": "raise ImportError('no reverb here')",
    "absl": "print('{{not an answer}}')",
}


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Puts modules that do harm before the real ones; gives their folder."""
    for name, text in MODULES.items():
        path = tmp_path / f"{name}.py"
        path.write_text(text.format(pid=str(tmp_path / "pid")))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def outcomes(*checks):
    return {r.name: (r.status, r.text) for r in examination.run(checks)}


def package(line, **options):
    return Check(line, packages.package, (line,), **options)


def test_this_machine_is_told_of_line_by_line(tmp_path):
    found = tmp_path / "found.json"
    run_dir = tmp_path / "runs" / "new"
    flags = [f"--run_dir={run_dir}", f"--json={found}"]
    done = tiny_run.run(tiny_run.script("doctor.py", *flags))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert [*tmp_path.iterdir()] == [found]
    written = json.loads(found.read_text())
    *lines, verdict = done.stdout.splitlines()
    assert written["works"] and verdict.startswith("everything needed works here")
    assert len(lines) == len(written["checks"])
    for line, check in zip(lines, written["checks"], strict=True):
        assert line.split()[0] == check["status"] and line.endswith(check["text"])
    by_name = {check["name"]: check for check in written["checks"]}
    # Whether a picture can be made depends on the machine.
    wrong = [n for n, check in by_name.items() if check["status"] != "ok"]
    assert set(wrong) <= {"MuJoCo renders", "disk", "memory"}, lines
    assert "2.15.1, wanted ==2.15.*" in by_name["tensorflow"]["text"]
    assert "localhost alone" in by_name["replay server"]["text"]
    assert str(tmp_path) in by_name["run directory"]["text"]
    for line in setup_constant("INSTALL_REQUIRES"):
        assert any(line.startswith(name) for name in by_name), line


def test_what_breaks_is_a_line_and_the_rest_goes_on(broken):
    found = outcomes(
        package("matplotlib"),
        package("scipy", without="plots work"),
        package("minari"),
        package("rich", seconds=2),
        package("absl-py"),
        package("numpy>=1.26,<2"),
        package("numpy<1.26"),
        package("no-such-package>=2", after=("numpy>=1.26,<2",)),
        package("gin-config", after=("numpy>=1.26,<2", "rich")),
        package("cryptography<46; python_version < '3'"),
    )
    told = {name: text for name, (_, text) in found.items()}
    assert [status for status, _ in found.values()] == (
        ["failed", "warning", "failed", "failed", "ok"]
        + ["ok", "failed", "failed", "skipped", "ok"]
    )
    assert "ImportError: libfreetype.so is missing" in told["matplotlib"]
    assert "it crashed (SIGSEGV)" in told["scipy"] and "plots work" in told["scipy"]
    assert "(exit code 3): its last words; " in told["minari"]
    assert "no answer within 2 s" in told["rich"]
    assert "found, <1.26 wanted; pip install -r" in told["numpy<1.26"]
    assert "not installed, wanted no-such-package>=2" in told["no-such-package>=2"]
    assert told["gin-config"] == "not tried without rich"
    # What the hanging one had started has ended with it.
    process = pathlib.Path("/proc", (broken / "pid").read_text(), "stat")
    give_up = time.monotonic() + 10
    while process.exists() and " Z " not in process.read_text():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_without_reverb_the_cure_is_told_and_what_still_works(broken):
    check = Check("replay", libraries.replay, without="offline training works")
    ((status, text),) = outcomes(check).values()
    assert status == "warning" and "pip install dm-reverb==0.14.0" in text
    assert text.count("offline training works") == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for place, reason in (
        (tmp_path / "file" / "runs", "cannot"),
        ("/proc/runs", "cannot"),
        (tmp_path / "run[1]", "cannot"),
        (tmp_path / "link", "No such file"),
        (tmp_path / ("x" * 300), "too long"),
    ):
        with pytest.raises(UserError, match=reason):
            machine.run_directory(str(place))
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}
    assert str(tmp_path) in machine.disk(str(tmp_path / "link"))


def test_datasets_are_looked_for_where_minari_would(tmp_path, monkeypatch):
    (tmp_path / "a" / "b-v0" / "data").mkdir(parents=True)
    (tmp_path / "a" / "b-v0" / "data" / "metadata.json").write_text("{}")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert machine.datasets() == f"1 in {tmp_path}"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "none"))
    with pytest.raises(UserError, match="is no folder"):
        machine.datasets()


def test_versions_of_python_and_of_extras(monkeypatch):
    assert packages.python(">=3.10,<3.12").startswith(sys.version.split()[0])
    for wanted in (">=3.8,<3.10", ">=3.100,<4.0"):
        with pytest.raises(UserError, match="is not >="):
            packages.python(wanted)
    told = packages.extra(["no-such-package>=2", "pytest>=8"])
    assert told == f"pytest {pytest.__version__}, not installed: no-such-package"
    with pytest.raises(UserError, match="is not <8"):
        packages.extra(["pytest<8", "no-such-package>=2"])


def test_a_bare_python_gets_its_lines_too(tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", symlinks=True)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    done = subprocess.run(
        [tmp_path / "bare" / "bin" / "python", REPOSITORY / "launch" / "doctor.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "nothing of requirements.lock" in done.stdout
    assert ". .venv/bin/activate" in done.stdout
    assert f"{tmp_path} can be written" in done.stdout
    assert "Traceback" not in done.stdout


def test_bad_usage_is_refused_before_anything_is_tried(tmp_path):
    for place in (tmp_path / "none" / "found.json", tmp_path, tmp_path / ("a" * 300)):
        done = tiny_run.run(tiny_run.script("doctor.py", f"--json={place}"))
        tiny_run.check_refused(done, "nothing can be written there")
        assert done.stdout == ""
    tiny_run.check_refused(tiny_run.run(tiny_run.script("doctor.py", "all")), "'all'")
