"""SIGTERM to training at the paper's sizes: how soon has it saved and ended?

  python tests/reliability/sigterm.py [--seeds 0,1,2] [--signals 10] [--latest 60]

Starts protocols/paper_a on one run directory again and again, and stops it at moments
spread from 1 s to --latest. It must end within 30 s: with 75, saved, beyond the step
that it began from; or while it imports and loads, where there is nothing to save, with
143 or, before Python runs, by the signal. Prints a line for each signal; exit code 1
where one of them was answered otherwise.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import tiny_run  # noqa: E402

LIMIT_SECONDS = 30.0
SAVED, NOTHING_TO_SAVE = 75, 128 + signal.SIGTERM


def stop_after(command: list[str], seconds: float) -> tuple[int, float, str]:
    """The program's exit code, the time it took to stop, and its last words."""
    with tempfile.TemporaryFile("w+") as said:
        program = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, cwd=ROOT
        )
        time.sleep(seconds)
        program.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = program.wait(600)
        taken = time.monotonic() - began
        said.seek(0)
        return code, taken, (said.read().strip().splitlines() or ["nothing"])[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", help="by default a small maze2d collection")
    parser.add_argument("--task", default="maze2d", help="of gin/tasks")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--signals", type=int, default=10)
    parser.add_argument("--latest", type=float, default=60.0)
    arguments = parser.parse_args()
    failed, last = False, 0
    with tempfile.TemporaryDirectory(prefix="sigterm-") as folder:
        dataset = arguments.dataset
        if not dataset:
            from idql_tf.environments.collect import collect

            maze = pathlib.Path(folder, "maze")
            collect("PointMaze_UMaze-v3", 1_500, str(maze), 4)
            dataset = f"minari:{maze}"
        command = tiny_run.script(
            "train.py",
            f"--dataset={dataset}",
            f"--run_dir={folder}/run",
            f"--seeds={arguments.seeds}",
            files=[f"gin/tasks/{arguments.task}.gin", "gin/protocols/paper_a.gin"],
        )
        for k in range(arguments.signals):
            share = k / max(arguments.signals - 1, 1)
            moment = 1.0 + share * (arguments.latest - 1.0)
            code, taken, said = stop_after(command, moment)
            fine = code in (SAVED, NOTHING_TO_SAVE, -signal.SIGTERM)
            fine = fine and taken <= LIMIT_SECONDS
            if found := re.search(r"saved at critic step ([\d,]+)", said):
                step = int(found[1].replace(",", ""))
                fine = fine and step > last
                last = step
            failed |= not fine
            answer = "ok" if fine else "FAILED"
            print(f"after {moment:5.1f} s: {code} in {taken:4.1f} s, {answer}: {said}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
