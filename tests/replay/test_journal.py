import numpy as np
import pytest

from idql_tf.errors import UserError
from idql_tf.replay.journal import Journal

ROWS = np.arange(200, dtype=np.float32).reshape(20, 2, 5)


def _written(folder, capacity=100, keep=1, ends=(0, 4, 12, 20)):
    journal = Journal(folder, capacity, keep)
    for first, last in zip(ends[:-1], ends[1:], strict=True):
        journal.write(first, ROWS[first:last])
    return journal


def _names(folder):
    return sorted(int(path.stem) for path in folder.iterdir())


@pytest.mark.parametrize("count", [20, 15, 12, 3])
def test_reads_what_was_written_up_to_a_checkpoint(tmp_path, count):
    _written(tmp_path)
    np.testing.assert_array_equal(Journal(tmp_path, 100, 3).read(count), ROWS[:count])
    assert all(first < count for first in _names(tmp_path))


def test_a_run_goes_on_where_its_checkpoint_ended(tmp_path):
    journal = _written(tmp_path)
    # A kill came after the file from 12 and before its checkpoint.
    journal.read(12)
    journal.write(12, -ROWS[12:15])
    expected = np.concatenate([ROWS[:12], -ROWS[12:15]])
    np.testing.assert_array_equal(journal.read(15), expected)


@pytest.mark.parametrize("keep, left", [(1, [4, 12]), (2, [0, 4, 12])])
def test_keeps_what_the_checkpoints_need(tmp_path, keep, left):
    journal = _written(tmp_path, capacity=10, keep=keep)
    assert _names(tmp_path) == left
    np.testing.assert_array_equal(journal.read(20), ROWS[10:])
    if keep == 2:
        # The newest checkpoint was damaged: the one before counts on these.
        np.testing.assert_array_equal(journal.read(12), ROWS[2:12])
    else:
        with pytest.raises(UserError, match="has 8 transitions up to 12; the checkp"):
            journal.read(12)


def test_nothing_was_written(tmp_path):
    journal = Journal(tmp_path / "absent", 10, 3)
    journal.write(0, ROWS[:0])
    assert journal.read(0) is None and not (tmp_path / "absent").exists()


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path):
    journal = _written(tmp_path)
    with pytest.raises(
        UserError, match="20 transitions up to 20; the checkpoint has 30"
    ):
        journal.read(30)
    (tmp_path / f"{4:012d}.npy").write_bytes(b"torn")
    with pytest.raises(UserError, match="000004.npy is damaged"):
        journal.read(20)
    (tmp_path / f"{4:012d}.npy").unlink()
    with pytest.raises(UserError, match="up to 4, then from 12; restore"):
        journal.read(20)
    (tmp_path / "mine.npy").write_bytes(b"")
    with pytest.raises(UserError, match="mine.npy is no file of a journal"):
        journal.read(4)


def test_files_with_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / f"{0:012d}.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(UserError, match="damaged"):
        Journal(tmp_path, 10, 3).read(1)
