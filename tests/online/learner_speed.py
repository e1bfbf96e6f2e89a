"""How fast a learner is that takes its data from Reverb, beside one that has them.

  python tests/online/learner_speed.py [--seeds 1] [--rounds 15] [--gin_file FILE ...]

One critic update per environment step (`max`), and two behaviour updates with it
(`imp`), at the paper's sizes unless gin files say otherwise; hopper's shapes. A server
in a process of its own, an actor's writer in another that fills the queue as fast as
it may. First how many items come through where nothing else is done; then, in turns:
so many steps' updates on what the mirror holds; the same with every step taken from
the server first, while the writer goes on and while it rests (its work is an actor's,
and on two cores takes from the learner's); and the offline learner's own. Prints
medians.
"""

import argparse
import multiprocessing
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from idql_tf.quiet import import_quietly

import_quietly()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from idql_tf import config  # noqa: E402
from idql_tf.data.rewards import RewardRule  # noqa: E402
from idql_tf.data.transitions import DatasetInfo, Transitions, aligned_empty  # noqa: E402
from idql_tf.online.updates import FinetuneUpdates  # noqa: E402
from idql_tf.replay import layout, server, tables  # noqa: E402
from idql_tf.replay.feed import Feed  # noqa: E402
from idql_tf.replay.library import reverb  # noqa: E402
from idql_tf.replay.mirror import Mirror  # noqa: E402
from idql_tf.replay.writer import TransitionWriter  # noqa: E402
from idql_tf.training import arrays  # noqa: E402
from idql_tf.training.learner import IdqlLearner  # noqa: E402

D, A, STEPS = 11, 3, 50


def _item(sizes, number):
    draw = np.random.default_rng(number).random
    lead = (sizes.num_environments, sizes.num_seeds)
    return {
        "observations": draw((*lead, D), np.float32),
        "actions": draw((*lead, A), np.float32),
        "rewards": draw(lead, np.float32),
        "masks": np.ones(lead, np.float32),
        "next_observations": draw((*lead, D), np.float32),
        "returns": np.zeros(lead, np.float32),
        "lengths": np.zeros(lead, np.int32),
        "origin": np.array([0, number, 0]),
    }


def serve(sizes, connection):
    made = tables.online_tables(sizes, 1_000_000, 1_000)
    with server.serve(made) as running:
        connection.send(running.port)
        connection.recv()


def write(sizes, port, may):
    client = reverb.Client(f"localhost:{port}")
    writer = TransitionWriter(client, 60.0, on_wait=lambda: None)
    number = 0
    while True:
        may.wait()
        writer.write(_item(sizes, number))
        number += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--gin_file", action="append", default=[])
    arguments = parser.parse_args()
    config.load(arguments.gin_file)
    seeds = tuple(range(arguments.seeds))
    sizes = layout.Sizes(len(seeds), D, A, 1)
    start = multiprocessing.get_context("spawn")
    ours, theirs = start.Pipe()
    serving = start.Process(target=serve, args=(sizes, theirs), daemon=True)
    serving.start()
    port = ours.recv()
    may = start.Event()
    may.set()
    start.Process(target=write, args=(sizes, port, may), daemon=True).start()

    def aligned(values):
        found = aligned_empty(values.shape)
        found[:] = values
        return found

    count = 100_000
    draw = np.random.default_rng(0).random
    learner = IdqlLearner(D, A, seeds)
    info = DatasetInfo("synthetic", "", None, (), D, (-1.0,) * A, (1.0,) * A, None, 1)
    placed = arrays.to_device(
        Transitions(
            aligned(draw((count + 1, D), np.float32)),
            np.arange(count, dtype=np.int32),
            aligned(draw((count, A), np.float32)),
            draw(count, np.float32),
            np.ones(count, np.float32),
            np.zeros(count, bool),
            info,
        ),
        RewardRule("none", 1.0, 0.0),
        0.05,
    )
    mirror = Mirror(sizes, 1_000_000)
    updates = FinetuneUpdates(learner, placed, mirror, 0.5)
    client = reverb.Client(f"localhost:{port}")
    feed = Feed(client, 60.0)

    def take():
        left = STEPS
        while left:
            items = feed.wait(left)
            mirror.append(np.concatenate([layout.pack(item) for item in items]))
            left -= len(items)

    take()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 5.0:
        take()
        count += STEPS
    rate = count / (time.perf_counter() - began)
    print(f"one writer to one feed: {rate:,.0f} items/s of {len(seeds)} transitions")
    for name, per_step in (("max", 0), ("imp", 2)):
        counts = STEPS, per_step * STEPS

        def finished(metrics):
            for value in metrics.values():
                value.numpy()

        runs = {
            "in memory, offline learner": lambda c=counts: finished(
                learner.train(placed, *c)
            ),
            "in memory, mirror": lambda c=counts: finished(updates.train(*c)),
            "from Reverb": lambda c=counts: (take(), finished(updates.train(*c))),
            "from Reverb, writer rests": lambda c=counts: (
                take(),
                finished(updates.train(*c)),
            ),
        }
        times = {what: [] for what in runs}
        for _ in range(arguments.rounds + 1):
            for what, run in runs.items():
                may.set()
                while client.server_info()["fresh"].current_size < 4 * STEPS:
                    time.sleep(0.01)
                if what == "from Reverb, writer rests":
                    may.clear()
                    # What it has on its way comes in.
                    time.sleep(0.5)
                began = time.perf_counter()
                run()
                times[what].append((time.perf_counter() - began) / STEPS)
        base = None
        for what, found in times.items():
            median = statistics.median(found[1:])
            base = base or median
            print(
                f"{name}: {what:<27} {1e3 * median:7.2f} ms per step, "
                f"{100 * base / median:5.1f} % of the offline learner's speed"
            )
    ours.send("end")


if __name__ == "__main__":
    tf.config.threading.set_inter_op_parallelism_threads(2)
    main()
