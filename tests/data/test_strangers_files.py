"""Files that would have us read other files, or run what they name."""

import json
import pathlib
import shutil

import gin
import h5py
import numpy as np
import pytest

from idql_tf import data
from idql_tf.errors import UserError

SECRET = 12_345.75
ENDS = ("terminated", "truncated")


@pytest.fixture
def secret(tmp_path) -> pathlib.Path:
    """A file that no dataset may show, complete in both layouts."""
    path = tmp_path / "elsewhere" / "secret.hdf5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        for group in (file, file.create_group("episode_0")):
            group["observations"] = np.full((13, 2), SECRET, np.float32)
            group["actions"] = np.zeros((12, 2), np.float32)
            for name in ("rewards", "terminations", "truncations"):
                group[name] = np.zeros(12, np.float32)
    path.with_suffix(".raw").write_bytes(np.full((12, 2), SECRET, "f4").tobytes())
    return path


def external_link(file, secret):
    file["observations"] = h5py.ExternalLink(str(secret), "/observations")


def soft_link_out(file, secret):
    file["out"] = h5py.ExternalLink(str(secret), "/")
    file["observations"] = h5py.SoftLink("/out/observations")


def virtual(file, secret):
    layout = h5py.VirtualLayout((12, 2), "f4")
    layout[...] = h5py.VirtualSource(str(secret), "observations", (13, 2))[:12]
    file.create_virtual_dataset("observations", layout)


def external_storage(file, secret):
    raw = [(str(secret.with_suffix(".raw")), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("observations", (12, 2), "f4", external=raw)


def vlen(file, secret):
    file.create_dataset("observations", (12,), h5py.vlen_dtype(np.float32))


def references(file, secret):
    file.create_dataset("observations", (12, 2), h5py.ref_dtype)


def times(file, secret):
    space = h5py.h5s.create_simple((12, 2))
    h5py.h5d.create(file.id, b"observations", h5py.h5t.UNIX_D32LE, space)


def loop(file, secret):
    file["observations"] = h5py.SoftLink("/observations")


def laughs(file, secret):
    """Sixteen links of fifty parts each, fifty to the power of sixteen steps."""
    for level in range(16):
        target = "/".join([f"/level{level + 1}/x"] * 50)
        file[f"level{level}"] = h5py.SoftLink(target)
    file["observations"] = h5py.SoftLink("/level0")


def group(file, secret):
    file.create_group("observations")


def no_numbers(file, secret):
    file["observations"] = h5py.Empty("f4")


def never_written(file, secret):
    file.create_dataset("observations", (2**31, 2), "f4", chunks=(64, 2))
    for name in ("actions", "rewards", "terminals", "timeouts"):
        shape = (2**31, *file[name].shape[1:])
        del file[name]
        file.create_dataset(name, shape, "f4", chunks=(64, *shape[1:]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (external_link, "link into the file .*secret.hdf5; expected one file"),
        (soft_link_out, "link into the file .*secret.hdf5; expected one file"),
        (virtual, "takes its numbers from other files"),
        (external_storage, "takes its numbers from other files"),
        (vlen, "type object; expected one numeric row"),
        (references, "type object; expected one numeric row"),
        (times, "cannot read"),
        (loop, "more than 16 links"),
        (laughs, "more than 16 links|has no"),
        (group, "is no array"),
        (no_numbers, "expected one numeric row"),
        (never_written, r"claims shape \(2147483648,\), the file holds 0 bytes"),
    ],
)
def test_d4rl_is_one_file_of_numbers(save, arrays, secret, damage, message):
    dataset = save("d4rl", arrays)
    with h5py.File(dataset.partition(":")[2], "r+") as file:
        del file["observations"]
        damage(file, secret)
    with pytest.raises(UserError, match=message) as caught:
        data.load(dataset)
    assert "\n" not in str(caught.value)


def test_soft_links_within_a_file_are_followed(save, arrays):
    dataset = save("d4rl", arrays)
    expected = data.load(dataset)
    with h5py.File(dataset.partition(":")[2], "r+") as file:
        file.move("observations", "robot/log/joints")
        file["same"] = h5py.SoftLink("robot/./log")
        file["observations"] = h5py.SoftLink("/same/joints")
    assert data.load(dataset).info.sha256 == expected.info.sha256


@pytest.fixture
def combined(write_minari):
    """A dataset whose episode 0 is a link into the one beside it."""
    dataset, path = write_minari(ENDS, (3, 4))
    folder = path.parents[1].with_name("combined-v0")
    shutil.copytree(path.parents[1], folder)

    def link_to(filename):
        with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
            del file["episode_0"]
            file["episode_0"] = h5py.ExternalLink(filename, "/episode_0")
        return "minari:tiny/combined-v0", folder

    return link_to


@pytest.mark.parametrize("by_path", [False, True])
def test_links_to_neighbours_are_followed(combined, by_path):
    dataset, folder = combined("../../fixture-v0/data/main_data.hdf5")
    name = f"minari:{folder}" if by_path else dataset
    loaded = data.load(name)
    assert loaded.info.sha256 == data.load("minari:tiny/fixture-v0").info.sha256


def test_links_out_of_the_root_need_trust(combined, secret, monkeypatch, tmp_path):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "tiny"))
    dataset, folder = combined(str(secret))
    for name in (f"minari:{folder}", "minari:combined-v0"):
        with pytest.raises(UserError, match="secret.hdf5, outside .*allow_external"):
            data.load(name)
    with gin.unlock_config():
        gin.bind_parameter("load_dataset.allow_external_links", True)
    try:
        assert data.load(f"minari:{folder}").rows[0, 0] == SECRET
    finally:
        gin.clear_config()


def test_a_link_by_way_of_a_symbolic_one(combined, secret, tmp_path):
    (tmp_path / "tiny" / "inside").symlink_to(secret.parent)
    dataset, _ = combined("../../inside/secret.hdf5")
    (tmp_path / "secret.hdf5").unlink(missing_ok=True)
    with pytest.raises(UserError, match="outside|needs the ones") as caught:
        data.load(f"minari:{tmp_path / 'tiny' / 'combined-v0'}")
    assert "outside" in str(caught.value)


def test_a_link_is_not_looked_for_in_the_working_directory(
    combined, secret, monkeypatch
):
    monkeypatch.chdir(secret.parent)
    dataset, _ = combined("secret.hdf5")
    with pytest.raises(UserError, match="not there; a combined dataset needs"):
        data.load(dataset)


def test_metadata_name_no_code_to_run(write_minari, tmp_path):
    """Minari makes the environment of metadata without spaces, by its entry point."""
    dataset, path = write_minari(ENDS, (3, 4), env_id="Pendulum-v1")
    file = path.with_name("metadata.json")
    metadata = json.loads(file.read_text())
    del metadata["observation_space"]
    spec = json.loads(metadata["env_spec"])
    spec |= {"entry_point": "os:mkdir", "kwargs": {"path": str(tmp_path / "ran")}}
    metadata["env_spec"] = json.dumps(spec)
    file.write_text(json.dumps(metadata))
    with pytest.raises(UserError, match="metadata.json is unreadable.*observation_sp"):
        data.load(dataset)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total_episodes", -1),
        ("total_episodes", 2.5),
        ("total_episodes", 10**20),
        ("minari_version", "9.9.9"),
        ("env_spec", "[]"),
        ("env_spec", '{"id": 3}'),
        ("action_space", "[" * 100_000),
        (
            "observation_space",
            '{"type": "Box", "dtype": "f4", "shape": [2000000000],"low": 0, "high": 1}',
        ),
    ],
)
def test_metadata_of_wrong_values(write_minari, name, value):
    dataset, path = write_minari(ENDS, (3, 4))
    file = path.with_name("metadata.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(UserError, match="metadata.json is unreadable"):
        data.load(dataset)
