"""Checkpoints of a learner: weights, averages, optimizer slots and counters."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import shutil

import tensorflow as tf

from idql_tf import files
from idql_tf.errors import UserError, in_one_line
from idql_tf.training.learner import IdqlLearner

# A damaged file reaches Python as any of these, by the place of the damage.
_UNREADABLE = (
    tf.errors.OpError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

# Ends of the files' names; what else lies there is not ours.
_OWN = re.compile(r"\.(index|json|data-\d+-of-\d+)")


class Checkpoints:
    """The last k checkpoints of a learner, each complete or absent.

    A checkpoint is TensorFlow's step-N.index and data file, and step-N.json with their
    sizes and SHA-256 checksums. All are written aside and synced to the disk, then
    moved into place: checksums, data, and last the index, which says that the
    checkpoint is there. So a kill or a power cut at any moment leaves the new one
    whole, or the previous one in force; nothing is removed before the new one is there.

    One without step-N.json is an older version's: TensorFlow's own checksums, of
    each tensor, must do.

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
        self._learner, self._directory, self._keep = learner, directory, keep
        self._checkpoint = tf.train.Checkpoint(learner=learner)
        # Made by its first use; every version's checkpoints have it.
        self._checkpoint.save_counter.assign(0)
        self._newest: int | None = None
        self._lost: list[int] = []
        self.skipped: list[str] = []
        files.check_plain(directory)
        if keep is None:
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{directory} cannot hold checkpoints ({error!s:.120}); restore the "
                "folder, or move away what has its place"
            ) from error

    def save(self) -> None:
        """Writes a checkpoint named by the step, then removes what is not to be kept.

        Raises:
          OSError, tf.errors.OpError: it cannot be written; the others are untouched.
        """
        step = self._step()
        if step == self._newest:
            return
        aside = self._directory / ".partial"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir()
            self._checkpoint.write(str(aside / _name(step)))
            # A damaged one in its place would be taken for it.
            self._remove(step)
            self._lost = [number for number in self._lost if number != step]
            written = sorted(aside.iterdir())  # The index is behind the data.
            files.write_atomically(
                self._directory / f"{_name(step)}.json",
                json.dumps({path.name: _record(path) for path in written}, indent=1),
            )
            for path in written:
                files.sync(path)
                path.rename(self._directory / path.name)
            files.sync(self._directory)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self._newest = step
        # For `tf.train.latest_checkpoint`.
        files.write_atomically(
            self._directory / "checkpoint", f'model_checkpoint_path: "{_name(step)}"\n'
        )
        self._clean(step)

    @property
    def newest(self) -> int | None:
        """Step of the checkpoint restored or saved last; None where none was."""
        return self._newest

    def _step(self) -> int:
        """Critic updates and environment steps: online some come without the other."""
        return int(self._learner.critic_step) + int(self._learner.env_step)

    def _written(self) -> list[int]:
        """Steps of the checkpoints in the directory, newest first.

        Listed by name: the `checkpoint` file that names them may be gone, and a
        run that then began anew would overwrite what is there.
        """
        # Not by a pattern, which finds nothing where it may not look.
        there = self._directory.iterdir() if self._directory.is_dir() else ()
        names = (path for path in there if path.match("step-*.index"))
        numbers = map(_number, names)
        return sorted((n for n in numbers if n is not None), reverse=True)

    def restore(self) -> int | None:
        """Loads the newest checkpoint that is whole; `skipped` names the others.

        Files are compared with their checksums before any of them is loaded.

        Returns:
          The step reached, or None if there is no checkpoint.

        Raises:
          UserError: there are checkpoints and none fits or can be read.
        """
        for number in self._written():
            try:
                reason = self._damage(number)
                if reason is None:
                    status = self._checkpoint.read(str(self._directory / _name(number)))
                    status.assert_existing_objects_matched().assert_consumed()
                    self._newest = self._step()
                    return self._newest
            except _UNREADABLE as error:
                reason = in_one_line(error) or type(error).__name__
            self._lost.append(number)
            self.skipped.append(f"{_name(number)}: {reason}")
        if self.skipped:
            raise UserError(
                f"no checkpoint in {self._directory} fits this run "
                f"({'; '.join(self.skipped)}); restore the files or start a new run"
            )
        return None

    def _damage(self, number: int) -> str | None:
        """How a checkpoint differs from its checksums; None where it does not."""
        checksums = self._directory / f"{_name(number)}.json"
        for path in self._files(number):
            if not path.is_file():
                return f"{path.name} is no file"
        if not checksums.exists():
            return None
        expected = json.loads(checksums.read_text())
        found = {p.name: _record(p) for p in self._files(number) if p != checksums}
        for name in sorted({*expected, *found}):
            if name not in found:
                return f"{name} is missing"
            if found[name] != expected.get(name):
                size = found[name]["bytes"]
                return f"{name}, {size:,} bytes, is not what {checksums.name} says"
        return None

    def _files(self, number: int) -> list[pathlib.Path]:
        """Files of one checkpoint, first the index, which says that it is there."""
        name = _name(number)
        found = [
            path
            for path in self._directory.glob(f"{name}.*")
            if _OWN.fullmatch(path.name.removeprefix(name))
        ]
        return sorted(found, key=lambda path: path.suffix != ".index")

    def _remove(self, number: int) -> None:
        for path in self._files(number):
            path.unlink()

    def _clean(self, step: int) -> None:
        """Removes all but the last k; and those of a time that was lost."""
        sound = [n for n in self._written() if n <= step and n not in self._lost]
        found = {_number(path) for path in self._directory.glob("step-*.*")}
        for number in found - set(sound[: self._keep]):
            if number is not None:
                self._remove(number)
        self._lost = []


def _name(step: int) -> str:
    return f"step-{step}"


def _number(path: pathlib.Path) -> int | None:
    digits = path.name.removeprefix("step-").partition(".")[0]
    return int(digits) if digits.isdecimal() else None


def _record(path: pathlib.Path) -> dict[str, int | str]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}
