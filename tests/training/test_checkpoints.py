"""Damage and kills: a checkpoint is loaded whole and verified, or not at all."""

import json
import os
import shutil

import pytest
import tiny_learner as tiny

from idql_tf.errors import UserError
from idql_tf.training.checkpoints import Checkpoints

FILES = ("index", "data-00000-of-00001", "json")


@pytest.fixture(scope="module")
def learner():
    return tiny.learner((1, 2))


def _set(learner, step):
    for variable in learner.variables:
        variable.assign(variable * 0 + step)


@pytest.fixture(scope="module")
def written(learner, tmp_path_factory):
    """A folder with checkpoints of steps 10, 20 and 30: all numbers in them are so."""
    folder = tmp_path_factory.mktemp("written")
    checkpoints = Checkpoints(folder, learner, 3)
    for step in 10, 20, 30:
        _set(learner, step)
        learner.env_step.assign(0)
        checkpoints.save()
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "checkpoints")


def _restored(folder, learner):
    """The step restored, all numbers being those of it, and what was skipped."""
    _set(learner, -1)
    checkpoints = Checkpoints(folder, learner, 3)
    step = checkpoints.restore()
    learner.env_step.assign(step)
    assert all((values == step).all() for values in tiny.state(learner))
    return step, checkpoints.skipped


def _flip(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)


def _cut(path, place):
    path.write_bytes(path.read_bytes()[: int(place * path.stat().st_size)])


def test_a_whole_one_is_loaded(folder, learner):
    assert _restored(folder, learner) == (30, [])
    assert {p.name for p in folder.iterdir()} == {
        "checkpoint",
        *(f"step-{step}.{file}" for step in (10, 20, 30) for file in FILES),
    }


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [_flip, _cut])
def test_any_damage_is_seen_and_the_one_before_taken(folder, learner, file, damage):
    whole = (folder / f"step-30.{file}").read_bytes()
    for place in (0.0, 0.4, 0.999):
        (folder / f"step-30.{file}").write_bytes(whole)
        damage(folder / f"step-30.{file}", place)
        step, skipped = _restored(folder, learner)
        assert step == 20, place
        assert len(skipped) == 1 and skipped[0].startswith("step-30: "), skipped


def test_what_is_wrong_is_named(folder, learner):
    (folder / "step-30.data-00000-of-00001").unlink()
    _cut(folder / "step-20.index", 0.5)
    assert _restored(folder, learner)[1] == [
        "step-30: step-30.data-00000-of-00001 is missing",
        f"step-20: step-20.index, {(folder / 'step-20.index').stat().st_size:,} bytes, "
        "is not what step-20.json says",
    ]


def test_nothing_is_assigned_of_damaged_ones(folder, learner):
    for step in 10, 20, 30:
        _flip(folder / f"step-{step}.data-00000-of-00001", 0.9)
    _set(learner, -1)
    with pytest.raises(UserError, match="no checkpoint .* step-30.*step-20.*step-10"):
        Checkpoints(folder, learner, 3).restore()
    assert all((values == -1).all() for values in tiny.state(learner))


def test_damaged_ones_are_removed_once_there_is_a_new_one(folder, learner):
    _flip(folder / "step-30.index", 0.5)
    checkpoints = Checkpoints(folder, learner, 3)
    assert checkpoints.restore() == 20
    learner.critic_step.assign(25)
    checkpoints.save()
    assert sorted(p.stem for p in folder.glob("*.index")) == [
        "step-10",
        "step-20",
        "step-25",
    ]
    assert not list(folder.glob("step-30*"))
    checkpoints = Checkpoints(folder, learner, 3)
    assert checkpoints.restore() == 25 and checkpoints.skipped == []


def test_a_damaged_one_is_written_again(folder, learner):
    _flip(folder / "step-30.data-00000-of-00001", 0.5)
    checkpoints = Checkpoints(folder, learner, 3)
    checkpoints.restore()
    _set(learner, 30)
    learner.env_step.assign(0)
    checkpoints.save()
    assert _restored(folder, learner) == (30, [])


@pytest.mark.parametrize("moved", [(), FILES[2:], FILES[1:]])
def test_a_kill_while_saving_leaves_the_one_before(folder, learner, moved):
    """What is moved into place, in order: checksums, data, index."""
    aside = folder / ".partial"
    aside.mkdir()
    for file in FILES:
        path = folder / f"step-30.{file}"
        if file not in moved:
            path.rename(aside / path.name)
    checkpoints = Checkpoints(folder, learner, 3)
    assert checkpoints.restore() == 20 and checkpoints.skipped == []
    learner.critic_step.assign(40)
    checkpoints.save()
    assert not aside.exists() and not list(folder.glob("step-30*"))


def test_an_older_versions_checkpoint_has_no_checksums(folder, learner):
    (folder / "step-30.json").unlink()
    assert _restored(folder, learner) == (30, [])
    # TensorFlow's own remain.
    _flip(folder / "step-30.data-00000-of-00001", 0.5)
    step, skipped = _restored(folder, learner)
    assert step == 20 and len(skipped) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"step-30.index": 1}', "null"])
def test_checksums_that_are_none(folder, learner, text):
    (folder / "step-30.json").write_text(text)
    step, skipped = _restored(folder, learner)
    assert step == 20 and len(skipped) == 1


def test_a_state_that_is_saved_is_not_written_again(folder, learner):
    checkpoints = Checkpoints(folder, learner, 3)
    checkpoints.restore()
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    checkpoints.save()
    assert before == {p: p.stat().st_mtime_ns for p in folder.iterdir()}


def test_checksums_are_those_of_the_files(written):
    found = json.loads((written / "step-10.json").read_text())
    assert set(found) == {f"step-10.{file}" for file in FILES[:2]}
    for name, record in found.items():
        assert record["bytes"] == (written / name).stat().st_size
        assert len(record["sha256"]) == 64


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder, learner):
    (folder / "step-30.json").unlink()
    os.mkfifo(folder / "step-30.json")
    assert _restored(folder, learner) == (20, ["step-30: step-30.json is no file"])


def test_what_a_user_has_put_beside_them_stays(folder, learner):
    (folder / "step-10.bak").mkdir()
    (folder / "step-10.index.old").write_text("precious")
    checkpoints = Checkpoints(folder, learner, 1)
    _set(learner, 40)
    checkpoints.save()
    assert sorted(p.name for p in folder.glob("step-10*")) == [
        "step-10.bak",
        "step-10.index.old",
    ]
