"""Checkpoints of a learner: weights, averages, optimizer slots and counters."""

from __future__ import annotations

import pathlib

import tensorflow as tf

from idql_tf import files
from idql_tf.errors import UserError
from idql_tf.training.learner import IdqlLearner

# A damaged file reaches Python as any of these, by the place of the damage.
_UNREADABLE = (
    tf.errors.OpError,
    AssertionError,
    IndexError,
    RuntimeError,
    ValueError,
)


class Checkpoints:
    """The last k checkpoints of a learner, each complete or absent.

    TensorFlow writes the data, then the index, then renames the `checkpoint`
    file that names them: a kill at any moment leaves the previous one in force.

    Args:
      directory: where they are kept.
      learner: what is saved and restored.
      keep: how many of the newest are kept; None only reads.

    Raises:
      UserError: the directory cannot hold them.
    """

    def __init__(
        self, directory: pathlib.Path, learner: IdqlLearner, keep: int | None
    ) -> None:
        self._learner = learner
        self._checkpoint = tf.train.Checkpoint(learner=learner)
        self._directory = directory
        self.skipped: list[str] = []
        files.check_plain(directory)
        if keep is None:
            return
        try:
            if not _state_is_sound(directory):
                # It names the checkpoints; the next one makes it anew.
                (directory / "checkpoint").unlink(missing_ok=True)
            self._manager = tf.train.CheckpointManager(
                self._checkpoint, str(directory), keep, checkpoint_name="step"
            )
        except (OSError, tf.errors.OpError) as error:
            raise UserError(
                f"{directory} cannot hold checkpoints ({error!s:.120}); restore the "
                "folder, or move away what has its place"
            ) from error

    def save(self) -> None:
        """Writes a checkpoint named by the step."""
        self._manager.save(checkpoint_number=self._step())

    def _step(self) -> int:
        """Critic updates and environment steps: online some come without the other."""
        return int(self._learner.critic_step) + int(self._learner.env_step)

    def _written(self) -> list[str]:
        """Checkpoints in the directory, newest first.

        Listed by name: the `checkpoint` file that names them may be gone, and a
        run that then began anew would overwrite what is there.
        """
        indices = self._directory.glob("step-*.index")
        steps = [path.stem.removeprefix("step-") for path in indices]
        numbers = sorted((int(s) for s in steps if s.isdecimal()), reverse=True)
        return [str(self._directory / f"step-{number}") for number in numbers]

    def restore(self) -> int | None:
        """Loads the newest checkpoint that can be read; `skipped` names the others.

        Returns:
          The step reached, or None if there is no checkpoint.

        Raises:
          UserError: there are checkpoints and none fits or can be read.
        """
        for path in self._written():
            try:
                status = self._checkpoint.restore(path)
                status.assert_existing_objects_matched().assert_consumed()
                return self._step()
            except _UNREADABLE as error:
                reason = str(error).strip().splitlines()[0][:120]
                self.skipped.append(f"{pathlib.Path(path).name}: {reason}")
        if self.skipped:
            raise UserError(
                f"no checkpoint in {self._directory} fits this run "
                f"({'; '.join(self.skipped)}); restore the files or start a new run"
            )
        return None


def _state_is_sound(directory: pathlib.Path) -> bool:
    try:
        state = tf.train.get_checkpoint_state(str(directory))
    except (ValueError, tf.errors.OpError):
        return False
    return state is not None and bool(state.model_checkpoint_path)
