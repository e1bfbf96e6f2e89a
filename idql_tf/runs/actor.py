"""What `launch/actor.py` does."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import time

import numpy as np
from rich.console import Console

from idql_tf import exits
from idql_tf.environments import factory
from idql_tf.evaluation import rollouts
from idql_tf.online.actor import Act, Actor
from idql_tf.online.settings import Settings
from idql_tf.replay import tables
from idql_tf.replay.deadlines import ReplayTimeout
from idql_tf.replay.weights import DONE, Weights
from idql_tf.replay.writer import TransitionWriter
from idql_tf.runs import jobs, online, remote
from idql_tf.runs.online import Request
from idql_tf.training.offline import Stopped, StopSignals

# How long a signal may have to wait for a server that is silent.
_LOOK_SECONDS = 5.0
_TABLES = (tables.ONLINE, tables.FRESH, tables.RECENT)


class _LearnerIsDone(Exception):
    """It needs no more transitions."""


def act(request: Request, address: str) -> int:
    """Acts with the learner's newest policy and sends what it finds, until it is done.

    Actors are told apart by a random number that each draws when it starts; it also
    decides how its episodes begin. So any number of them may come and go.

    Args:
      request: the run that is finetuned, and how.
      address: of the replay server, HOST:PORT.

    Returns:
      The exit code: 0 when the learner is done, 75 when stopped by a signal.

    Raises:
      UserError: the run cannot be read, or the server is another's.
      ReplayTimeout: the server does not answer.
    """
    console = Console(soft_wrap=True)
    if request.env_id is not None:
        factory.parse_spec(request.env_id)
    source, settings = request.open()
    remote.leave_gpu()
    rollouts.check(source.info)
    learner = jobs.make_learner(source)
    with source.locked(to_read=True):
        jobs.restore_trained(source, learner, console)
    client, weights = remote.connect(address, source, settings, learner)
    identity = secrets.randbits(62)
    deadline, number = settings.deadline_seconds, settings.num_environments
    with StopSignals() as stop:
        policy = _Policy(weights, deadline, stop)
        try:
            with (
                contextlib.closing(
                    TransitionWriter(client, deadline, _TABLES, on_wait=policy.look)
                ) as writer,
                contextlib.closing(
                    Actor(source.info, source.rule, source.seeds, number, identity)
                ) as actor,
            ):
                policy.follow()
                console.print(f"acting with the policy of step {policy.version:,}")
                choose = online.exploration(learner, settings, identity)
                try:
                    _act(actor, choose, writer, policy, identity, settings, console)
                except Stopped:
                    with contextlib.suppress(ReplayTimeout):
                        writer.flush(seconds=_LOOK_SECONDS)
                    raise
        except Stopped as stopped:
            console.print(f"{stopped}; the same command starts another actor")
            return exits.RESUMABLE
        except _LearnerIsDone:
            console.print("the learner is done")
    return exits.DONE


class _Policy:
    """The learner's published policy, as far as this actor has followed it."""

    def __init__(
        self, weights: Weights, deadline_seconds: float, stop: StopSignals
    ) -> None:
        self._weights, self._stop = weights, stop
        self._deadline = deadline_seconds
        self.version: int | None = None

    def follow(self) -> None:
        """Takes over the newest policy; waits for the first of all.

        A server may still say that an earlier learner was done.

        Raises:
          ReplayTimeout: the server does not answer.
        """
        give_up = time.monotonic() + self._deadline
        while True:
            self.check()
            try:
                version = self._weights.pull(_LOOK_SECONDS)
            except ReplayTimeout:
                if time.monotonic() > give_up:
                    raise
                continue
            self._take(version)
            if self.version is not None:
                return
            if version is None:
                # The server is there, the learner not yet.
                give_up = time.monotonic() + self._deadline
            elif time.monotonic() > give_up:
                raise _LearnerIsDone
            time.sleep(0.2)

    def check(self) -> None:
        """Ends the actor where a signal came."""
        if self._stop.received:
            raise Stopped(self._stop.received)

    def look(self) -> None:
        """Ends the actor where it is no longer wanted; for waits."""
        self.check()
        with contextlib.suppress(ReplayTimeout):
            self._take(self._weights.pull(_LOOK_SECONDS))

    def _take(self, version: int | None) -> None:
        if version == DONE:
            if self.version is not None:
                raise _LearnerIsDone
        elif version is not None:
            self.version = version


def _act(
    actor: Actor,
    choose: Act,
    writer: TransitionWriter,
    policy: _Policy,
    identity: int,
    settings: Settings,
    console: Console,
) -> None:
    """Acts until an exception ends it."""
    began, episodes = time.monotonic(), []
    for number in itertools.count(1):
        policy.check()
        item = actor.step(choose)
        origin = np.array([identity, number - 1, policy.version])
        writer.write(item | {"origin": origin})
        episodes += item["returns"][item["lengths"] > 0].tolist()
        steps = number * settings.num_environments
        if steps % settings.weights_every == 0:
            policy.follow()
        if steps % settings.log_every == 0:
            now = time.monotonic()
            mean = f", return {np.mean(episodes):.4g}" if episodes else ""
            console.print(
                f"step {steps:,}, {settings.log_every / (now - began):.0f} steps/s, "
                f"{len(episodes)} episodes{mean}; policy of step {policy.version:,}",
                highlight=False,
            )
            began, episodes = now, []
