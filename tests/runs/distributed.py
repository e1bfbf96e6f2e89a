"""Server, learner and actors of one finetuning, each a real process."""

import csv
import os
import signal
import time

import numpy as np
from tiny_run import script, start_warm

PARAMS = [
    "finetune.num_environments=2",
    "finetune.num_candidates=4",
    "finetune.warm_start_steps=40",
    "finetune.critic_updates_per_step=0.5",
    "finetune.offline_transitions_per_item=8",
    "finetune.queue_steps=40",
    "finetune.weights_every=20",
    "finetune.log_every=100",
    "finetune.checkpoint_every=200",
    "finetune.evaluate_every=400",
    "finetune.episodes=1",
    "finetune.server_checkpoint_seconds=0.5",
    "finetune.deadline_seconds=60.0",
    "evaluate.methods=(('argmax', 4),)",
]
CRITIC_STEPS = 3_000  # of the run that is finetuned


class Job:
    """The processes' commands; any of them can be started again.

    What each prints is in `printed`, a folder per start.
    """

    def __init__(self, run_dir, folder, printed, port, steps, params, replay):
        self.output = folder / "out"
        replay = replay or folder / "replay"
        self._printed, self._processes = printed, []
        flags = [f"--run_dir={run_dir}", "--mode=max"]
        server = f"--server=localhost:{port}"
        params = [*PARAMS, *params]
        self._commands = {
            "server": [f"--folder={replay}", f"--port={port}"],
            "learner": [
                server,
                f"--num_env_steps={steps}",
                f"--output_dir={self.output}",
            ],
            "actor": [server],
            "cluster": [
                "--cluster",
                f"--num_env_steps={steps}",
                f"--output_dir={self.output}",
            ],
        }
        names = {"server": "replay_server.py", "cluster": "finetune.py"}
        for name, own in self._commands.items():
            self._commands[name] = script(
                names.get(name, f"{name}.py"), *flags, *own, params=params
            )

    def start(self, name):
        folder = self._printed / f"{len(self._processes)}-{name}"
        folder.mkdir(parents=True)
        process = start_warm(self._commands[name], folder)
        process.printed = folder
        self._processes.append(process)
        return process

    def close(self):
        for process in self._processes:
            process.kill()
            process.join()

    def steps(self):
        """The last environment step in the log, 0 before the first."""
        path = self.output / "metrics.csv"
        rows = path.read_text().splitlines()[1:] if path.exists() else []
        return int(rows[-1].split(",")[1]) if rows else 0

    def wait_for(self, steps, *alive):
        wait(lambda: self.steps() >= steps, *alive)

    def journal(self):
        """Transitions [n, S, W] and origins [m, 3] that the learner kept."""
        files = [np.load(p) for p in sorted((self.output / "replay").glob("*.npz"))]
        return tuple(
            np.concatenate([f[name] for f in files]) for name in ("packed", "origins")
        )

    def logged(self, name):
        """{step: value} of a metric of the first seed."""
        with open(self.output / "metrics.csv", newline="") as file:
            rows = [r for r in csv.DictReader(file) if r["name"] == name]
        return {int(r["step"]): float(r["value"]) for r in rows if r["seed"] == "0"}


def said(process):
    """What a process printed, to stdout and to stderr."""
    files = [process.printed / str(fd) for fd in (1, 2)]
    return [file.read_text() if file.exists() else "" for file in files]


def wait(done, *alive, seconds=180):
    give_up = time.monotonic() + seconds
    while not done():
        for process in alive:
            assert process.is_alive(), said(process)
        assert time.monotonic() < give_up, [said(process) for process in alive]
        time.sleep(0.02)


def end(process, seconds=180):
    """Waits for the end; returns the exit code."""
    process.join(seconds)
    assert process.exitcode is not None, said(process)
    return process.exitcode


def terminate(process):
    os.kill(process.pid, signal.SIGTERM)
    return end(process, 60)


def check_whole(job, steps):
    """Every step once, and every update that was due."""
    packed, origins = job.journal()
    assert len(packed) == steps and len(origins) == steps // 2
    assert len(np.unique(origins[:, :2], axis=0)) == len(origins)
    updates = job.logged("critic/updates")
    assert updates[steps] == CRITIC_STEPS + (steps - 40) // 2
    assert list(updates) == sorted(updates)
    with open(job.output / "metrics.csv") as file:
        written = [line.rsplit(",", 1)[0] for line in file]
    assert len(written) == len(set(written))
    return origins


def check_unbroken(origins):
    """Of every actor all steps up to its last are there."""
    for actor in np.unique(origins[:, 0]):
        numbers = np.sort(origins[origins[:, 0] == actor, 1])
        np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
