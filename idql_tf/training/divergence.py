"""Training that notices when it has diverged, and says on which transitions."""

from __future__ import annotations

import io
import math
import pathlib
from collections.abc import Callable

import gin
import numpy as np
import tensorflow as tf

from idql_tf import files
from idql_tf.errors import check_number
from idql_tf.nn import dense
from idql_tf.training.blocks import Metrics, NotFinite
from idql_tf.training.learner import Drawn, IdqlLearner

# Squares of gradients stay finite below it.
LARGEST = 1e9
_FILE = "diverged.npz"


@gin.configurable("divergence", denylist=["path", "learner", "drawn", "rewards"])
class Guard:
    """Stops a run that has diverged, before its state reaches a checkpoint.

    No policy earns more than max |r| / (1 - discount), and V of all three objectives is
    between the smallest and the largest Q of the data's actions: a mean |Q|, or a
    root mean square error of Q, far beyond is wrong whatever the objective. Far is
    `q_limit` times that, or times the first |Q| seen where that is larger, as with
    observations in large units; and never less than `q_limit` itself. With a discount
    of 1 nothing is too large.

    The batch of the update that did it is written to diverged.npz in the run directory.

    Args:
      path: the run directory.
      learner: is watched.
      drawn: what update number n of a room, 'critic' or 'behavior', is trained on.
      rewards: of the dataset, after its rule.
      q_limit: how much larger than possible Q may be.
    """

    def __init__(
        self,
        path: pathlib.Path,
        learner: IdqlLearner,
        drawn: Callable[[str, int], Drawn],
        rewards: np.ndarray,
        q_limit: float,
    ) -> None:
        check_number("divergence.q_limit", q_limit, least=1.0)
        self._path, self._learner, self._drawn = path, learner, drawn
        self._q_limit, self._possible = q_limit, 1.0
        self._first_q: float | None = None
        # First update of the last block, by room.
        self._block = {"critic": 0, "behavior": 0}
        self.allow(rewards)
        self._variables = [v for v in learner.variables if v.dtype.is_floating]
        self._all_finite = dense.compiled(self._look, xla=False)

    def allow(self, rewards: np.ndarray) -> None:
        """Takes note of rewards, which decide how large Q may be."""
        horizon = 1.0 - self._learner.critic.discount
        most = float(np.max(np.abs(rewards), initial=0.0))
        possible = most / horizon if horizon else math.inf
        self._possible = max(self._possible, possible)

    def watch(self, take: Callable[[], Metrics]) -> dict[str, np.ndarray]:
        """Takes updates; returns their metrics.

        Raises:
          FloatingPointError: a loss became non-finite, or Q impossibly large.
        """
        learner = self._learner
        steps = int(learner.critic_step), int(learner.behavior_step)
        self._block = dict(zip(("critic", "behavior"), steps, strict=True))
        try:
            metrics = {name: value.numpy() for name, value in take().items()}
        except NotFinite as error:
            seed = learner.seeds[error.member]
            what = f"a {error.room} loss of seed {seed} is not finite"
            raise self._error(what, error.room, error.member, error.update) from None
        if "critic/q_mean" in metrics:
            self._check_q(metrics["critic/q_mean"], metrics["critic/q_loss"])
        return metrics

    def check_state(self) -> None:
        """Looks at all that a checkpoint would hold.

        Raises:
          FloatingPointError: a weight or a moment of it is not finite.
        """
        finite = self._all_finite().numpy()
        if finite.all():
            return
        which, member = (int(i) for i in np.argwhere(~finite)[0])
        owned = {v.ref() for v in self._learner.critic.variables}
        is_critic = self._variables[which].ref() in owned
        room = "critic" if is_critic else "behavior"
        update = self._learner.critic_step if is_critic else self._learner.behavior_step
        what = f"a {room} weight of seed {self._learner.seeds[member]} is not finite"
        raise self._error(what, room, member, int(update) - 1)

    def _look(self) -> tf.Tensor:
        """Whether all numbers are finite, bool [variables, S]."""
        return tf.stack(
            [
                tf.reduce_all(tf.reshape(tf.math.is_finite(v), [v.shape[0], -1]), 1)
                for v in self._variables
            ]
        )

    def _check_q(self, q_mean: np.ndarray, q_loss: np.ndarray) -> None:
        if self._first_q is None:
            self._first_q = float(np.abs(q_mean).max())
        limit = self._q_limit * max(self._possible, self._first_q)
        # Large values of both signs cancel in the mean, and not in the error.
        q = np.maximum(np.abs(q_mean), np.sqrt(q_loss))
        if q.max() <= limit:
            return
        member = int(q.argmax())
        what = (
            f"the mean |Q| of seed {self._learner.seeds[member]}, or its error, is "
            f"{q.max():.4g}, expected at most {limit:.4g} (divergence.q_limit)"
        )
        update = int(self._learner.critic_step) - 1
        raise self._error(what, "critic", member, update)

    def _error(
        self, what: str, room: str, member: int, update: int
    ) -> FloatingPointError:
        """Says what is wrong, and which transitions of the update may have done it.

        Where they are sound, the update before may have spoilt the weights; before the
        block online transitions were others.
        """
        what = f"{what} after {room} update {update:,}"
        for number in range(update, max(update - 2, self._block[room] - 1), -1):
            drawn = self._drawn(room, number)
            extreme = _extreme(drawn, member)
            if extreme is not None:
                break
        else:
            number, drawn = update, self._drawn(room, update)
        found = extreme or f"no number in its batch is beyond {LARGEST:g}"
        cure = "mend the data" if extreme else "take a smaller learning rate"
        batch = "its batch" if number == update else "the batch of the update before"
        seed = self._learner.seeds[member]
        saved = self._save(drawn, room, member, seed, number)
        has_one = any((self._path / "checkpoints").glob("*.index"))
        kept = (
            "the last checkpoint is kept" if has_one else "there is no checkpoint yet"
        )
        return FloatingPointError(
            f"{what}: {found}; {batch} is {saved}; {kept}; {cure}, or check the reward "
            "rule, and begin a new run"
        )

    def _save(
        self, drawn: Drawn, room: str, member: int, seed: int, update: int
    ) -> str:
        arrays = {
            name: x[member].numpy()
            for name, x in drawn.batch._asdict().items()
            if x is not None
        }
        numbers = drawn.numbers[member].numpy()
        is_online = np.arange(len(numbers)) >= drawn.num_offline
        file = self._path / _FILE
        # Not into the file: on a full disk NumPy complains once more, to stderr.
        archive = io.BytesIO()
        np.savez(
            archive,
            **arrays,
            transition=numbers,
            is_online=is_online,
            room=room,
            seed=seed,
            update=update,
        )
        try:
            with files.replacing(file, "wb") as target:
                target.write(archive.getbuffer())
        except OSError as error:
            return f"lost ({error})"
        return f"in {file}"


def _extreme(drawn: Drawn, member: int) -> str | None:
    """Names the first transition with a number that training cannot take."""
    columns = drawn.batch._asdict().items()
    values = {name: x[member].numpy() for name, x in columns if x is not None}
    for row, number in enumerate(drawn.numbers[member].numpy()):
        for name, column in values.items():
            of_row = np.ravel(column[row])
            # Of NaN the comparison is false.
            bad = of_row[~(np.abs(of_row) <= LARGEST)]
            if bad.size:
                kind = "" if row < drawn.num_offline else "online "
                where = " of the dataset" if row < drawn.num_offline else ""
                return (
                    f"{kind}transition {number:,}{where} has {bad[0]:g} in its {name}"
                )
    return None
