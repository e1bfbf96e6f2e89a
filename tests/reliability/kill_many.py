"""Kills real training, evaluation and finetuning at random moments; do they go on?

  python tests/reliability/kill_many.py --kills 100 [--seed 0] [--stages saving,...]

A round is a run that is killed (SIGKILL) in up to --per_round stages, started again
after each with the same command, and let end at last. Then an offline run must equal
one that was never killed: parameters and optimizer slots bit for bit, metrics.csv but
for its time rows, evaluations.csv. Of a finetuning, which acts otherwise after a kill,
the counters must be those due, and the data those that its checkpoints counted on. A
kill is survived if all this holds at the end of its round. Prints tried and survived of
each stage; exit code 1 where they differ. Each kill takes some 10 s of a core.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from idql_tf.quiet import import_quietly  # noqa: E402

import_quietly()

import survival  # noqa: E402
import tiny_run  # noqa: E402

SEEDS = "--seeds=0,4"
TRAIN = [
    *tiny_run.SMALL,
    "LnResnet.num_blocks=1",
    "Behavior.num_diffusion_steps=2",
    "train.episodes=1",
    "evaluate.methods=(('argmax', 4),)",
]
FINETUNE = [
    "finetune.num_environments=2",
    "finetune.num_candidates=4",
    "finetune.warm_start_steps=40",
    "finetune.critic_updates_per_step=0.5",
    "finetune.offline_transitions_per_item=8",
    "finetune.weights_every=10",
    "finetune.log_every=40",
    "finetune.checkpoint_every=40",
    "finetune.evaluate_every=400",
    "finetune.episodes=1",
]
ENV_STEPS = 800


@dataclasses.dataclass(frozen=True)
class Stage:
    """Part of a job's time.

    Attributes:
      job: 'train', 'evaluate' or 'finetune'.
      begun: whether it has, by the run directory and what the program printed.
      share: of the time to the job's next stage in which a kill comes.
    """

    job: str
    begun: Callable[[pathlib.Path, str], bool]
    share: float = 1.0


def _is_saving(run_dir: pathlib.Path, _: str) -> bool:
    return any(run_dir.glob("checkpoints/.partial")) or any(
        run_dir.glob("replay/.*.partial")
    )


def _always(*_: object) -> bool:
    return True


# In the order of their beginnings.
STAGES = {
    "loading": Stage("train", _always),
    "compiling": Stage("train", lambda _, said: "in one program; run:" in said),
    "training": Stage("train", lambda _, said: "steps/s," in said, 0.4),
    "saving": Stage("train", _is_saving, 0.0),
    "evaluating": Stage(
        "train", lambda run_dir, _: (run_dir / "checkpoints/step-3000.index").exists()
    ),
    "evaluate": Stage("evaluate", _always),
    "starting": Stage("finetune", _always),
    "finetuning": Stage(
        "finetune",
        lambda _, said: "at environment" in said or "step 0:" in said,
        0.4,
    ),
    "finetune_saving": Stage("finetune", _is_saving, 0.0),
}
# A stage that takes no time of its own, but the blink of a few files.
_BLINK_SECONDS = 0.03


class Program:
    """A script that runs, and what it prints."""

    def __init__(self, command: list[str], folder: pathlib.Path) -> None:
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="printed-", dir=folder))
        self._process = tiny_run.start_warm(command, self._folder)

    def said(self, fd: int = 1) -> str:
        file = self._folder / str(fd)
        return file.read_text() if file.exists() else ""

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def wait_until(self, is_so: Callable[[str], bool]) -> bool:
        """False where the program ended before."""
        while not is_so(self.said()):
            if not self.is_alive():
                return False
            time.sleep(0.004)
        return True

    def end(self, kill: bool = False) -> int:
        if kill:
            self._process.kill()
        self._process.join(600)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
        return code

    def error(self) -> str:
        return " ".join(self.said(2).split())[-300:]


class Jobs:
    """The three jobs, their commands, and how long their stages take undisturbed."""

    def __init__(self, folder: pathlib.Path, names: set[str]) -> None:
        from idql_tf.environments.collect import collect

        self.folder = folder
        maze = folder / "maze"
        collect("PointMaze_UMaze-v3", 1_500, str(maze), 4)
        self._maze = f"minari:{maze}"
        self.seconds: dict[str, float] = {}
        self.whole = {"train": self.prepare("train", "whole")}
        self._measure("train")
        for job in sorted(names - {"train"}):
            self.whole[job] = self.prepare(job, f"whole-{job}")
            self._measure(job)

    def prepare(self, job: str, name: str) -> pathlib.Path:
        """The run directory of a new round."""
        run_dir = self.folder / name
        if job == "evaluate":
            shutil.copytree(self.whole["train"], run_dir)
        return run_dir

    def command(self, job: str, run_dir: pathlib.Path) -> list[str]:
        if job == "train":
            return tiny_run.train(self._maze, run_dir, SEEDS, params=TRAIN)
        if job == "evaluate":
            how = ["--episodes=1", "--extraction=implicit", "--num_candidates=8"]
            return tiny_run.script("evaluate.py", f"--run_dir={run_dir}", *how)
        flags = [f"--run_dir={self.whole['train']}", f"--output_dir={run_dir}"]
        flags += ["--mode=imp", f"--num_env_steps={ENV_STEPS}"]
        return tiny_run.script("finetune.py", *flags, params=FINETUNE)

    def _measure(self, job: str) -> None:
        run_dir = self.whole[job]
        program = Program(self.command(job, run_dir), self.folder)
        # Saving is begun many times, and soon over.
        stages = [n for n, s in STAGES.items() if s.job == job and s.share]
        begun = []
        for name in stages:
            program.wait_until(lambda said, s=STAGES[name]: s.begun(run_dir, said))
            begun.append(time.monotonic())
        if program.end() != 0:
            sys.exit(f"{job} fails undisturbed: {program.error()}")
        begun.append(time.monotonic())
        for name, first, last in zip(stages, begun, begun[1:], strict=False):
            self.seconds[name] = last - first
            print(f"{name} takes {last - first:.1f} s", flush=True)


def play(
    jobs: Jobs, job: str, name: str, stages: list[str], chance: random.Random
) -> tuple[list[str], str | None]:
    """One round; gives the stages in which there was a kill, and what went wrong."""
    run_dir = jobs.prepare(job, name)
    command = jobs.command(job, run_dir)
    killed: list[str] = []
    kept = survival.Kept(run_dir)
    for aim in sorted(stages, key=list(STAGES).index):
        stage = STAGES[aim]
        program = Program(command, jobs.folder)
        seconds = jobs.seconds.get(aim, _BLINK_SECONDS)
        pause = chance.random() * (stage.share * seconds or _BLINK_SECONDS)
        if program.wait_until(lambda said, s=stage: s.begun(run_dir, said)):
            time.sleep(pause)
        if program.is_alive():
            program.end(kill=True)
            killed.append(aim)
            if job == "finetune":
                kept.note()
        elif program.end() != 0:
            return killed, f"started again after {killed}: {program.error()}"
    program = Program(command, jobs.folder)
    if program.end() != 0:
        return killed, f"started again after {killed}: {program.error()}"
    try:
        if job == "finetune":
            kept.check(ENV_STEPS)
        else:
            survival.check_same(jobs.whole[job], run_dir)
    except AssertionError as error:
        return killed, " ".join(str(error).split())[:300] or "it is not the same"
    shutil.rmtree(run_dir)
    return killed, None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--per_round", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    arguments = parser.parse_args()
    wanted = arguments.stages.split(",")
    if unknown := set(wanted) - set(STAGES):
        parser.error(f"no such stages: {unknown}; expected some of {list(STAGES)}")
    chance = random.Random(arguments.seed)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kill-many-"))
    print(f"runs in {folder}", flush=True)
    tried: collections.Counter = collections.Counter()
    survived: collections.Counter = collections.Counter()
    jobs = Jobs(folder, {STAGES[name].job for name in wanted})
    began, number, bag = time.monotonic(), 0, []
    while sum(tried.values()) < arguments.kills:
        if time.monotonic() - began > arguments.seconds:
            break
        if not bag:
            bag = chance.sample(wanted, len(wanted))
        # The next stage, and others of its job.
        left = arguments.kills - sum(tried.values())
        job = STAGES[bag[0]].job
        stages = [n for n in bag if STAGES[n].job == job]
        stages = stages[: min(arguments.per_round, left)]
        bag = [name for name in bag if name not in stages]
        number += 1
        killed, wrong = play(jobs, job, f"round-{number}", stages, chance)
        tried.update(killed)
        if wrong is None:
            survived.update(killed)
        print(f"round {number}: {job} killed in {killed}: {wrong or 'ok'}", flush=True)
    for name in wanted:
        print(f"{name:16s} tried {tried[name]:4d}  survived {survived[name]:4d}")
    print(f"{'all':16s} tried {tried.total():4d}  survived {survived.total():4d}")
    if tried != survived:
        print(f"what failed is in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
