"""Evaluates a learner's policies in the data's environment, every episode kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gin
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import Progress

from idql_tf import extraction
from idql_tf.columns import EVALUATION_COLUMNS
from idql_tf.data import scores
from idql_tf.errors import UserError, check_count
from idql_tf.evaluation import maze_picture, records, report, rollouts, summary
from idql_tf.evaluation.rollouts import Episodes
from idql_tf.nn import dense
from idql_tf.runs.directory import Run
from idql_tf.training.learner import IdqlLearner
from idql_tf.training.metrics import append_rows, drop_rows, last_step
from idql_tf.training.offline import Stopped, StopSignals

Method = tuple[str, int]


@gin.configurable("evaluate", denylist=["run", "learner", "console", "stop", "phase"])
class Evaluator:
    """Evaluations of one run: the same start states for every method and step.

    Args:
      run: the run.
      learner: whose policies are evaluated.
      console: where progress is drawn.
      stop: asked before every step of the environments.
      methods: (extraction, num_candidates) pairs.
      evaluation_seed: decides the start states and the policies' draws.
      max_parallel: environments per seed, at most.
      phase: 'offline', counted in critic updates, or 'online', in environment steps.
    """

    def __init__(
        self,
        run: Run,
        learner: IdqlLearner,
        console: Console,
        stop: StopSignals,
        methods: Sequence[Method],
        evaluation_seed: int,
        max_parallel: int,
        phase: str = "offline",
    ) -> None:
        self.methods = [(str(name), count) for name, count in methods]
        for method in self.methods:
            extraction.check_method(*method)
            extraction.check_refinable(method[0], learner.behavior)
        extraction.check_temperature(extraction.configured_temperature())
        check_count("evaluate.evaluation_seed", evaluation_seed, 0)
        check_count("evaluate.max_parallel", max_parallel)
        self._run, self._learner, self._console = run, learner, console
        self._stop, self._phase = stop, phase
        self._seed, self._max_parallel = evaluation_seed, max_parallel
        self._policies: dict[Method, tf.types.experimental.GenericFunction] = {}
        self._file = run.file("evaluations.csv")
        self._step = 0

    def resume(self, step: int, checkpoint: int | None) -> None:
        """Forgets evaluations of steps that a killed run has lost.

        Args:
          step: where the run goes on.
          checkpoint: what it goes on from; None where there is none.

        Raises:
          UserError: it has lost all checkpoints: then nothing is forgotten.
        """
        if checkpoint is None and (last := last_step(self._file)):
            raise UserError(
                f"{self._file} has evaluations up to step {last:,} and there is no "
                "checkpoint; restore checkpoints/, or move the run away to begin it "
                "anew"
            )
        # Without a checkpoint online, step 0 may have been another run's: of the source
        # before it was trained on.
        drop_rows(self._file, {"critic": -1 if checkpoint is None else step})

    def evaluate(
        self, step: int, episodes: int, methods: Sequence[Method] | None = None
    ) -> None:
        """Evaluates methods, unless these episodes are recorded at this step.

        Appends all methods' episodes to evaluations.csv at once. The run's own
        methods (None) also replace maze.npz where the environment is a maze.

        Raises:
          UserError: there is no environment to evaluate in.
          Stopped: a signal came; nothing is recorded.
        """
        self._step = step
        wanted = list(methods or self.methods)
        if set(wanted) <= self._recorded(step, episodes):
            return
        outcomes = {method: self._episodes(method, episodes) for method in wanted}
        if methods is None:
            self._save_maze(outcomes)
        rows = [row for m in wanted for row in self._rows(step, m, outcomes[m])]
        append_rows(self._file, EVALUATION_COLUMNS, rows)
        for (name, count), outcome in outcomes.items():
            self._console.print(
                f"step {step:,}: {name} N={count} return "
                f"{outcome.returns.mean():.4g} over {outcome.returns.size} episodes",
                highlight=False,
            )

    def finish(self) -> None:
        """Writes summary.json and report.html, and prints the table."""
        found = summary.write(self._run.path)
        report.write([self._run.path])
        self._console.print(summary.format_table(found), markup=False, highlight=False)
        of_phase = [m["step"] for m in found["methods"] if m["phase"] == self._phase]
        newest = max(of_phase, default=0)
        if 0 < self._step < newest:
            # As where the newest checkpoint was damaged.
            self._console.print(
                f"the table shows each method's newest evaluation, up to step "
                f"{newest:,}; the checkpoint at hand is of step {self._step:,}",
                highlight=False,
            )
        self._console.print(f"report: {self._run.file('report.html')}", markup=False)

    def _recorded(self, step: int, episodes: int) -> set[Method]:
        """Methods of which every seed has these episodes at this step."""
        table = records.read_run(self._run.path).evaluations
        names = ("extraction", "num_candidates", "seed", "episode")
        here = table["phase"] == records.PHASES.index(self._phase)
        here &= table["step"] == step
        found: dict[Method, set[tuple[int, int]]] = {}
        columns = (table[name][here].tolist() for name in names)
        for name, count, seed, episode in zip(*columns, strict=True):
            found.setdefault((name, count), set()).add((seed, episode))
        wanted = {(s, e) for s in self._run.seeds for e in range(episodes)}
        return {method for method, episodes_ in found.items() if wanted <= episodes_}

    def _episodes(self, method: Method, episodes: int) -> Episodes:
        title = f"evaluating {method[0]} N={method[1]}"
        policy = self._policy(method)
        with Progress(
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        ) as progress:
            task = progress.add_task(title, total=episodes * len(self._run.seeds))
            return rollouts.run_episodes(
                policy,
                self._run.info,
                len(self._run.seeds),
                episodes,
                self._seed,
                self._max_parallel,
                lambda finished, _: progress.update(task, completed=finished),
            )

    def _policy(self, method: Method) -> Callable[[np.ndarray, int], np.ndarray]:
        if method not in self._policies:
            self._policies[method] = compile_policy(self._learner, method)
        policy = self._policies[method]
        # Apart from the training seeds, so that no evaluation repeats their draws.
        seeds = tf.constant(self._run.seeds, tf.int64) + 1_000_003 * (self._seed + 1)

        def act(observations: np.ndarray, step: int) -> np.ndarray:
            if self._stop.received:
                raise Stopped(f"{self._stop.received}: stopped while evaluating")
            return policy(observations, seeds, tf.constant(step, tf.int64)).numpy()

        return act

    def _rows(self, step: int, method: Method, outcome: Episodes) -> list[tuple]:
        reference = self._run.info.reference
        rows = []
        for member, seed in enumerate(self._run.seeds):
            for episode, value in enumerate(outcome.returns[member]):
                success = outcome.successes[member, episode]
                score = "" if reference is None else scores.normalize(value, reference)
                rows.append(
                    (
                        self._phase,
                        step,
                        seed,
                        *method,
                        episode,
                        f"{value:.6g}",
                        outcome.lengths[member, episode],
                        score if score == "" else f"{float(score):.6g}",
                        "" if np.isnan(success) else f"{success:g}",
                    )
                )
        return rows

    def _save_maze(self, outcomes: dict[Method, Episodes]) -> None:
        info = self._run.info
        points = maze_picture.maze_points(str(info.env_spec), info)
        if points is None:
            return
        observations = np.tile(points.observations, (len(self._run.seeds), 1, 1))
        values = self._learner.critic.value(tf.constant(observations)).numpy()
        argmax = {n: o for (name, n), o in outcomes.items() if name == "argmax"}
        maze_picture.save_maze(
            self._run.file("maze.npz"), points, values, argmax, self._run.seeds
        )


def compile_policy(
    learner: IdqlLearner, method: Method
) -> tf.types.experimental.GenericFunction:
    """Compiles (observations [S, B, D], seeds [S], step) -> actions [S, B, A]."""
    name, num_candidates = method

    def policy(observations: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return extraction.extract(
            learner.critic,
            learner.behavior,
            observations,
            seeds,
            step,
            name,
            num_candidates,
        ).action

    return dense.compiled(policy)
