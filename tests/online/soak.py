"""A long finetuning in processes of their own: does anything grow, does anything leak?

  python tests/online/soak.py --run_dir RUN [--num_env_steps 100000] [--num_actors 4]

Starts a server, a learner and actors on a trained run and prints, every so many steps,
resident memory, threads and open files of each. Ends with the growth over the second
half, and exit code 1 where threads or files grew; memory is for the reader, who knows
what the tables hold. Needs Linux.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def usage(pid):
    """(resident MiB, threads, open files) of a process."""
    folder = pathlib.Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1) for line in (folder / "status").read_text().splitlines()
    )
    memory = int(status["VmRSS"].split()[0]) / 1024
    return memory, int(status["Threads"]), len(list((folder / "fd").iterdir()))


def steps_of(output):
    path = output / "metrics.csv"
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    return int(rows[-1].split(",")[1]) if rows else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run_dir", required=True)
    parser.add_argument("--num_env_steps", type=int, default=100_000)
    parser.add_argument("--num_actors", type=int, default=4)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--gin_param", action="append", default=[])
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
    output = folder / "out"
    common = [f"--run_dir={arguments.run_dir}", "--mode=max"]
    common += [f"--gin_param={param}" for param in arguments.gin_param]
    where = f"--server=localhost:{arguments.port}"
    processes = {}

    def start(name, script, *flags):
        with open(folder / f"{name}.log", "w") as log:
            command = [sys.executable, str(ROOT / "launch" / script), *common, *flags]
            processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    start(
        "server",
        "replay_server.py",
        f"--folder={folder / 'replay'}",
        f"--port={arguments.port}",
    )
    start(
        "learner",
        "learner.py",
        where,
        f"--num_env_steps={arguments.num_env_steps}",
        f"--output_dir={output}",
    )
    for i in range(arguments.num_actors):
        start(f"actor{i}", "actor.py", where)
    print(f"logs in {folder}")
    rows, began = [], time.monotonic()
    try:
        while processes["learner"].poll() is None:
            time.sleep(0.5)
            step = steps_of(output)
            if step // (arguments.num_env_steps // 20) <= len(rows) - 1 or not step:
                continue
            rows.append({n: usage(p.pid) for n, p in processes.items()})
            line = "  ".join(
                f"{name} {memory:.0f} MiB {threads} thr {files} fd"
                for name, (memory, threads, files) in rows[-1].items()
            )
            print(f"{time.monotonic() - began:6.0f} s, step {step:>7,}: {line}")
        code = processes["learner"].wait()
        ended = {n: p.wait(60) for n, p in processes.items() if n.startswith("actor")}
    finally:
        processes["server"].terminate()
        processes["server"].wait(60)
        for process in processes.values():
            process.kill()
    print(f"learner ended with {code}, actors with {sorted(ended.values())}")
    grown = False
    half = len(rows) // 2
    for name in processes:
        (m0, t0, f0), (m1, t1, f1) = rows[half][name], rows[-1][name]
        print(
            f"{name}: second half {m1 - m0:+.0f} MiB, {t1 - t0:+d} thr, {f1 - f0:+d} fd"
        )
        grown |= t1 - t0 > 4 or f1 - f0 > 4
    return int(grown or code != 0)


if __name__ == "__main__":
    sys.exit(main())
