"""Feeds damaged files of every format to the code that reads them.

    python tests/reliability/fuzz.py --files 10000
    python tests/reliability/fuzz.py --files 2000 --formats hdf5,npz --seed 1 --keep DIR

A file may be accepted or refused with a UserError. Any other exception, a crash, a
hang, a write outside the folder at hand or a started program is a failure: its
files are kept in --keep, and the exit code is 1. File number k of a seed is always
the same: --only k repeats it here, with its traceback. --corpus DIR keeps the first
file of every kind of refusal; tests/reliability/corpus is made so.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import logging
import multiprocessing
import os
import pathlib
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor

TESTS = pathlib.Path(__file__).resolve().parents[1]
os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "evaluation")]

# Of a processor, and of a clock on a machine that does other things too.
CPU_SECONDS, CLOCK_SECONDS = 10.0, 60.0
MEMORY_BYTES = 4 * 2**30  # beyond what a process takes that has imported all
START_SECONDS = 600.0
CORPUS_BYTES = 5_000
REFUSED, ACCEPTED, FAILED = "refused", "accepted", "FAILED"
_PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "os.fork")
_ALARMS = (*_PROGRAMS, "socket.connect", "pickle.find_class")
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link")


class Watch:
    """Notes what the code under test does beside reading (an audit hook)."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._inside = (str(folder), os.devnull)
        self.found: list[str] | None = None
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple) -> None:
        if self.found is None:
            return
        if event in _ALARMS:
            self.found.append(f"{event} {args}"[:200])
        elif event == "open" or event in _CHANGES:
            writes = event != "open" or (args[2] or 0) & (os.O_WRONLY | os.O_RDWR)
            path = os.fsdecode(args[0]) if isinstance(args[0], (str, bytes)) else ""
            if writes and path and not os.path.abspath(path).startswith(self._inside):
                self.found.append(f"{event} {path}"[:200])


def work(
    connection, folder: pathlib.Path, seed: int, tasks: list, corpus, limited=True
) -> None:
    """Reads the tasks' files one after the other and sends each outcome."""
    import numpy as np

    os.chdir(folder)
    logging.disable(logging.ERROR)
    tempfile.tempdir = str(folder)
    warnings.simplefilter("ignore")
    from readers import FORMATS, REFUSAL
    from seeds import write_canary

    from idql_tf import config

    config.register()
    canary = folder / "outside" / "canary.hdf5"
    canary.parent.mkdir(exist_ok=True)
    write_canary(canary)
    makers = {}
    for name in {name for _, name in tasks}:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
        makers[name] = FORMATS[name](folder / name, canary)
        with contextlib.suppress(REFUSAL):  # What is made once, and imported once.
            makers[name](np.random.default_rng(0))()
    if limited:
        held = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
        most = held * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    watch = Watch(folder)
    connection.send("ready")
    for number, name in tasks:
        read = makers[name](np.random.default_rng([seed, number]))
        outcome, detail = ACCEPTED, ""
        watch.found, started = [], time.process_time()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                read()
        except REFUSAL as error:
            # gin's own words, which cli.run leaves out.
            outcome = REFUSED
            detail = str(error).partition("\n  In call to configurable")[0]
            if not limited:
                traceback.print_exc()
            if "\n" in detail:
                outcome = FAILED
        except BaseException as error:
            outcome = FAILED
            detail = f"{type(error).__name__}: {error} | {_innermost(error)}"
            if not limited:
                traceback.print_exc()
        found, watch.found = watch.found, None
        if corpus and outcome == REFUSED:
            remember(corpus / name, makers[name], detail)
        seconds = time.process_time() - started
        if seconds > CPU_SECONDS:
            found.append(f"took {seconds:.0f} s of a processor")
        if found:
            outcome, detail = FAILED, f"{found[0]} | {detail}"
        connection.send((number, outcome, " ".join(detail.split())[:300], seconds))


def remember(corpus: pathlib.Path, maker, detail: str) -> None:
    """Copies the file that was read, unless a smaller one was refused alike."""
    words = re.sub(r"'.*?'|\S*[/\\\d]\S*", " ", detail.partition("; expected")[0])
    name = "-".join(re.findall("[a-z]{2,}", words.lower())[:6]) or "refused"
    target = corpus / maker.path.relative_to(maker.folder) / name
    content = maker.path.read_bytes()
    most = target.stat().st_size - 1 if target.exists() else CORPUS_BYTES
    # A link to the canary leads nowhere on another machine.
    if len(content) <= most and bytes(maker.canary.parent) not in content:
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = target.with_name(f".{os.getpid()}")
        whole.write_bytes(content)
        whole.replace(target)


def _innermost(error: BaseException) -> str:
    """The last of our own lines that the exception passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "idql_tf/" in f.filename] or frames
    return f"{pathlib.Path(ours[-1].filename).name}:{ours[-1].lineno}"


def supervise(tasks: list, seed: int, keep: pathlib.Path, corpus) -> list:
    """Runs the tasks in a process that is started again after a crash or hang."""
    context = multiprocessing.get_context("spawn")
    results = []
    while tasks:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name).resolve()
            ours, theirs = context.Pipe()
            rest = theirs, folder, seed, tasks, corpus
            process = context.Process(target=work, args=rest)
            process.start()
            theirs.close()
            started = ours.poll(START_SECONDS) and ours.recv() == "ready"
            assert started, "a worker does not start"
            while tasks:
                number, kind = tasks[0]
                seconds = 0.0
                try:
                    if not ours.poll(CLOCK_SECONDS):
                        raise TimeoutError(f"no end after {CLOCK_SECONDS:g} s")
                    _, outcome, detail, seconds = ours.recv()
                except (EOFError, TimeoutError) as error:
                    process.kill()
                    process.join()
                    outcome, detail = FAILED, f"{error or 'crash'}; {process.exitcode}"
                tasks = tasks[1:]
                results.append((kind, outcome, seconds))
                if outcome == FAILED:
                    target = keep / f"{kind}-{seed}-{number}"
                    shutil.copytree(folder / kind, target, dirs_exist_ok=True)
                    print(f"{kind} {number}: {detail}", flush=True)
                if process.exitcode is not None:
                    break
            process.join(START_SECONDS)
    return results


def run(
    files: int, seed: int, formats: list, keep: pathlib.Path, corpus, processes: int
) -> list:
    """Fuzzes; returns (format, outcome, processor seconds) of each file."""
    numbers = [(k, formats[k % len(formats)]) for k in range(files)]
    keep.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(processes) as pool:
        parts = [
            pool.submit(supervise, numbers[i::processes], seed, keep, corpus)
            for i in range(processes)
        ]
        return [result for part in parts for result in part.result()]


def table(results: list) -> str:
    """Counts of each format's outcomes, and its dearest file."""
    lines = [f"{'format':12}{REFUSED:>10}{ACCEPTED:>10}{FAILED:>10}{'most s':>10}"]
    for kind in sorted({kind for kind, *_ in results}):
        own = [(outcome, seconds) for name, outcome, seconds in results if name == kind]
        counts = collections.Counter(outcome for outcome, _ in own)
        numbers = (counts[outcome] for outcome in (REFUSED, ACCEPTED, FAILED))
        line = f"{kind:12}" + "".join(f"{n:>10,}" for n in numbers)
        lines.append(f"{line}{max(seconds for _, seconds in own):>10.2f}")
    return "\n".join(lines)


def main() -> int:
    from readers import FORMATS

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--keep", type=pathlib.Path, default="fuzz_failures")
    parser.add_argument("--corpus", type=pathlib.Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", type=int, help="repeat one file in this process")
    flags = parser.parse_args()
    formats = flags.formats.split(",")
    if flags.only is not None:
        sent = type("Printed", (), {"send": staticmethod(print)})
        flags.keep.mkdir(parents=True, exist_ok=True)
        task = (flags.only, formats[flags.only % len(formats)])
        work(sent, flags.keep.resolve(), flags.seed, [task], None, limited=False)
        return 0
    corpus = flags.corpus and flags.corpus.resolve()
    results = run(flags.files, flags.seed, formats, flags.keep, corpus, flags.processes)
    print(table(results))
    return int(any(outcome == FAILED for _, outcome, _ in results))


if __name__ == "__main__":
    sys.exit(main())
