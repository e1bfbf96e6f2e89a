import contextlib
import os

import numpy as np
import pytest

from idql_tf.errors import UserError
from idql_tf.replay.journal import Journal, Rows

# Items of two rows, of one actor.
PACKED = np.arange(200, dtype=np.float32).reshape(20, 2, 5)
ORIGINS = np.stack([np.full(10, 7), np.arange(10), np.zeros(10)], 1).astype(np.int64)


def _rows(first, last, sign=1):
    return Rows(sign * PACKED[first:last], ORIGINS[first // 2 : -(-last // 2)])


def _check(found, packed, first_origin=0):
    np.testing.assert_array_equal(found.packed, packed)
    np.testing.assert_array_equal(
        found.origins, ORIGINS[first_origin : first_origin + len(found.origins)]
    )


def _written(folder, capacity=100, keep=1, ends=(0, 4, 12, 20)):
    journal = Journal(folder, capacity, keep, (2, 5))
    for first, last in zip(ends[:-1], ends[1:], strict=True):
        journal.write(first, _rows(first, last))
    return journal


def _names(folder):
    return sorted(int(path.stem) for path in folder.iterdir())


@pytest.mark.parametrize("count", [20, 15, 12, 3])
def test_reads_what_was_written_up_to_a_checkpoint(tmp_path, count):
    _written(tmp_path)
    found = Journal(tmp_path, 100, 3, (2, 5)).read(count)
    _check(found, PACKED[:count])
    assert len(found.origins) == -(-count // 2)
    # Nothing is gone that somebody may want back.
    assert _names(tmp_path) == [0, 4, 12]


def test_a_run_goes_on_where_its_checkpoint_ended(tmp_path):
    journal = _written(tmp_path)
    # A kill came after the file from 12 and before its checkpoint.
    journal.write(20, _rows(18, 20))
    journal.read(12)
    journal.write(12, _rows(12, 16, sign=-1))
    assert _names(tmp_path) == [0, 4, 12] and len(journal) == 3
    _check(journal.read(16), np.concatenate([PACKED[:12], -PACKED[12:16]]))


@pytest.mark.parametrize("keep, left", [(1, [4, 12]), (2, [0, 4, 12])])
def test_keeps_what_the_checkpoints_need(tmp_path, keep, left):
    journal = _written(tmp_path, capacity=5, keep=keep)
    assert _names(tmp_path) == left
    _check(journal.read(20), PACKED[15:], left[0] // 2)
    # The checkpoint of the newest file was never written: the one before counts on
    # these, however few are kept.
    _check(journal.read(12), PACKED[7:12], left[0] // 2)
    if keep == 2:
        _check(journal.read(4), PACKED[:4])
    else:
        with pytest.raises(UserError, match="has 0 transitions up to 0; the checkp"):
            journal.read(4)


def test_nothing_was_written(tmp_path):
    journal = Journal(tmp_path / "absent", 10, 3, (2, 5))
    journal.write(0, _rows(0, 0))
    assert journal.read(0) is None and not (tmp_path / "absent").exists()


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path):
    journal = _written(tmp_path)
    with pytest.raises(
        UserError, match="20 transitions up to 20; the checkpoint has 30"
    ):
        journal.read(30)
    (tmp_path / f"{4:012d}.npz").write_bytes(b"torn")
    with pytest.raises(UserError, match="000004.npz is damaged"):
        journal.read(20)
    (tmp_path / f"{4:012d}.npz").unlink()
    with pytest.raises(UserError, match="up to 4, then from 12; restore"):
        journal.read(20)
    (tmp_path / "mine.npz").write_bytes(b"")
    with pytest.raises(UserError, match="mine.npz is no file of a journal"):
        journal.read(4)


def test_files_with_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / f"{0:012d}.npz", packed=np.array([{}]), origins=ORIGINS)
    with pytest.raises(UserError, match="damaged"):
        Journal(tmp_path, 10, 3, (2, 5)).read(1)


def test_a_flipped_bit_is_told_in_one_line(tmp_path):
    path = tmp_path / f"{0:012d}.npz"
    np.savez(path, packed=PACKED[:4], origins=ORIGINS[:2])
    whole = path.read_bytes()
    for place in range(0, 400, 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):
            assert len(Journal(tmp_path, 10, 3, (2, 5)).read(4).packed) == 4


def test_rows_of_another_shape_are_refused(tmp_path):
    _written(tmp_path)
    with pytest.raises(UserError, match=r"is damaged \(it has .*\(2, 5\)"):
        Journal(tmp_path, 100, 3, (2, 6)).read(20)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    _written(tmp_path)
    path = sorted(tmp_path.iterdir())[-1]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="is damaged \\(it is no file"):
        Journal(tmp_path, 100, 3, (2, 5)).read(20)
