"""What `launch/finetune.py` does: everything of it in one process."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from idql_tf.online.actor import Act, Actor
from idql_tf.replay import loading, server, tables
from idql_tf.replay.library import reverb
from idql_tf.replay.writer import TransitionWriter
from idql_tf.runs import online
from idql_tf.runs.online import Finetuning, Request


def finetune(
    request: Request, num_env_steps: int, output_dir: str | None = None
) -> int:
    """Finetunes a run's policies by acting, with a replay server of its own.

    Everything that can be refused is refused before anything is written.

    Args:
      request: the run that is finetuned, and how.
      num_env_steps: environment steps of each seed in all.
      output_dir: the new run, resumed if it exists; by default RUN_DIR-MODE.

    Returns:
      The exit code: 0 when done, 75 when stopped by a signal after saving.

    Raises:
      UserError: the run cannot be finetuned, or the output is another run.
      ReplayTimeout: the replay server does not answer.
    """
    job = Finetuning(request, num_env_steps, output_dir)
    with job.stop, _serving(job) as client:
        code = job.do(lambda: _finetune(job, client))
    return job.finish(code)


def _finetune(job: Finetuning, client: reverb.Client) -> None:
    settings, run = job.settings, job.run
    rows = job.restore(client)
    start = int(job.learner.env_step)
    if rows is not None:
        # A new server has none of them.
        deadline = settings.deadline_seconds
        loading.refill(client, rows.packed, job.sizes, deadline)
    number = settings.num_environments
    with (
        contextlib.closing(
            TransitionWriter(client, settings.deadline_seconds)
        ) as writer,
        contextlib.closing(
            Actor(run.info, run.rule, run.seeds, number, first_step=start)
        ) as actor,
    ):
        act = online.exploration(job.learner, settings)
        job.train(collect=_lockstep(job, actor, act, writer))


def _lockstep(
    job: Finetuning, actor: Actor, act: Act, writer: TransitionWriter
) -> Callable[[], None]:
    """Acts with the learner's own networks, one step of the actor per call."""
    # A resumed run goes on counting: what it took before is known by its numbers.
    taken = int(job.learner.env_step) // job.settings.num_environments
    numbers = itertools.count(taken)

    def collect() -> None:
        origin = [0, next(numbers), int(job.learner.env_step)]
        writer.write(actor.step(act) | {"origin": np.array(origin)})
        # A checkpoint counts on every step being in the mirror.
        writer.flush()

    return collect


@contextlib.contextmanager
def _serving(job: Finetuning) -> Iterator[reverb.Client]:
    """A server in this process, with the dataset in `offline` for who asks for it.

    This process draws from its own copy.
    """
    settings = job.settings
    made = [
        # The loop takes every item at once: the queue never fills.
        *tables.online_tables(job.sizes, settings.capacity, settings.queue_steps),
        online.offline_table(job.transitions, job.sizes, settings),
    ]
    with server.serve(made) as running:
        client = reverb.Client(f"localhost:{running.port}")
        online.fill_offline(client, job.transitions, job.run, settings)
        yield client
