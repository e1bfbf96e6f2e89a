"""What `launch/learner.py` does."""

from __future__ import annotations

from idql_tf.replay.deadlines import ReplayTimeout
from idql_tf.replay.weights import DONE, Weights
from idql_tf.runs import remote
from idql_tf.runs.online import Finetuning, Request
from idql_tf.training.offline import Stopped, progress_bar

# Longer than the largest policies take, shorter than a scheduler waits after SIGTERM.
_PUBLISH_SECONDS = 10.0


def learn(
    request: Request, num_env_steps: int, address: str, output_dir: str | None = None
) -> int:
    """Finetunes a run with what actors in other processes send to a replay server.

    Args:
      request: the run that is finetuned, and how.
      num_env_steps: environment steps of each seed in all, of all actors together.
      address: of the replay server, HOST:PORT.
      output_dir: the new run, resumed if it exists; by default RUN_DIR-MODE.

    Returns:
      The exit code: 0 when done, 75 when stopped by a signal after saving.

    Raises:
      UserError: the run cannot be finetuned, the output is another run, or the server
        another's.
      ReplayTimeout: the server does not answer, or no actor sends anything.
    """
    job = Finetuning(request, num_env_steps, output_dir)
    client, weights = remote.connect(
        address, job.source, job.settings, job.learner, must_be_new=job.is_new
    )

    def work() -> None:
        job.restore(client)
        _recover(job)
        job.train(publish=lambda step: _publish(weights, step, job))

    with job.stop:
        code = job.do(work)
    return job.finish(code)


def _publish(weights: Weights, step: int, job: Finetuning) -> None:
    """Tells the actors; where the server is silent, the next wait for data tells."""
    last = step == DONE
    try:
        weights.publish(
            step, job.settings.deadline_seconds if last else _PUBLISH_SECONDS
        )
    except ReplayTimeout as error:
        what = "that the learner is done" if last else f"of step {step:,}"
        job.console.print(f"actors were not told {what}: {error}", markup=False)


def _recover(job: Finetuning) -> None:
    def on_progress(drawn: int, total: int) -> None:
        progress.update(task, completed=drawn, total=total)
        if job.stop.received:
            raise Stopped(f"{job.stop.received}: nothing new to save")

    with progress_bar(job.console) as progress:
        task = progress.add_task("finding what was not saved")
        found = job.feed.recover(on_progress)
    if found:
        job.console.print(f"found {found:,} items that were taken and not saved")
