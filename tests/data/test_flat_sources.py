import os
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

from idql_tf import data
from idql_tf.data.d4rl_source import timeouts_from_limit
from idql_tf.errors import UserError


def starts_and_nexts(transitions):
    return (
        transitions.observations[:, 0].tolist(),
        transitions.next_observations[:, 0].tolist(),
    )


def test_d4rl_drops_timeouts_and_the_last_row(save, arrays):
    transitions = data.load(save("d4rl", arrays))
    starts, nexts = starts_and_nexts(transitions)
    assert starts == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]
    assert nexts == [1, 2, 3, 4, 5, 6, 7, 9, 10, 11]
    assert transitions.masks.tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    assert np.flatnonzero(transitions.dones).tolist() == [3, 6, 9]
    np.testing.assert_allclose(transitions.actions[:, 1] * 100, starts, rtol=1e-5)
    assert transitions.rewards.tolist() == starts


def test_d4rl_without_timeouts_needs_a_time_limit(save, arrays):
    del arrays["timeouts"]
    with pytest.raises(UserError, match=r"no 'timeouts'.*--env_id"):
        data.load(save("d4rl", arrays))


def test_d4rl_without_timeouts_uses_the_limit_of_the_environment(save):
    num_rows = 450  # Pendulum-v1 stops after 200 steps
    time = np.arange(num_rows, dtype=np.float32)
    arrays = {
        "observations": np.stack([time] * 3, axis=1),
        "actions": np.zeros((num_rows, 1)),
        "rewards": time,
        "terminals": np.zeros(num_rows),
    }
    transitions = data.load(save("d4rl", arrays), env_id="Pendulum-v1")
    assert transitions.episode_lengths().tolist() == [199, 199, 49]
    assert transitions.info.action_high == (2.0,)


def test_time_limit_counts_from_the_last_end():
    terminals = np.zeros(12, bool)
    terminals[[2, 9]] = True
    # Steps 3 to 6 are a full episode of 4; 7 to 9 end by themselves.
    expected = np.flatnonzero(timeouts_from_limit(terminals, 4))
    assert expected.tolist() == [6]
    assert np.flatnonzero(timeouts_from_limit(terminals, 2)).tolist() == [
        1,
        4,
        6,
        8,
        11,
    ]


def test_npz_keeps_a_final_termination(save, arrays):
    arrays["terminals"][-1] = True
    transitions = data.load(save("npz", arrays))
    assert starts_and_nexts(transitions)[0] == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    assert transitions.masks[-1] == 0
    assert transitions.index[-1] + 1 < len(transitions.rows)


def test_npz_next_observations_cost_a_row_only_where_they_differ(save, arrays):
    following = arrays["observations"] + [[1, -1]]
    following[7] = [70.5, -70.5]  # the time-out's true successor
    transitions = data.load(save("npz", arrays | {"next_observations": following}))
    starts, nexts = starts_and_nexts(transitions)
    assert starts == list(range(12))
    assert nexts == [1, 2, 3, 4, 5, 6, 7, 70.5, 9, 10, 11, 12]
    assert len(transitions.rows) == 12 + 2  # row 7 and the last
    assert np.flatnonzero(transitions.dones).tolist() == [3, 7, 11]
    assert np.flatnonzero(transitions.masks == 0).tolist() == [3]


def test_npz_shuffled_transitions_stay_pairs(save, arrays):
    following = arrays["observations"] + [[1, -1]]
    order = np.random.default_rng(0).permutation(12)
    shuffled = {
        name: array[order]
        for name, array in (arrays | {"next_observations": following}).items()
    }
    transitions = data.load(save("npz", shuffled))
    np.testing.assert_array_equal(transitions.observations[:, 0], order)
    np.testing.assert_array_equal(transitions.next_observations[:, 0], order + 1)


def test_npz_non_finite_next_observation_is_located(save, arrays):
    following = arrays["observations"] + [[1, -1]]
    following[5, 1] = np.inf
    with pytest.raises(UserError, match=r"inf at row 5 of next_observations, column 1"):
        data.load(save("npz", arrays | {"next_observations": following}))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
def test_blocks_join_up(tmp_path, monkeypatch, order, dtype):
    monkeypatch.setattr("idql_tf.data.columns.BLOCK_BYTES", 64)
    values = np.asarray(np.arange(150).reshape(50, 3), dtype, order=order)
    path = tmp_path / "data.npz"
    np.savez(
        path,
        observations=values,
        actions=np.zeros((50, 1)),
        rewards=np.arange(50.0),
        terminals=np.zeros(50),
        next_observations=np.asarray(values + 3, np.float32, order="C"),
    )
    transitions = data.load(f"npz:{path}")
    np.testing.assert_array_equal(transitions.observations, values)
    np.testing.assert_array_equal(transitions.next_observations, values + 3)
    assert len(transitions.rows) == 51


def ogbench_arrays():
    """Two trajectories of 5 states, as OGBench's files hold them."""
    states = np.array([0, 1, 2, 3, 4, 100, 101, 102, 103, 104], np.float32)
    last = states % 100 == 4
    return {
        "observations": np.stack([states, -states], axis=1),
        "actions": np.stack([states, states], axis=1) / 1000,
        "terminals": last,
        "rewards": -np.ones(10, np.float32),
        "masks": (states != 3).astype(np.float32),
    }


def ogbench_compact():
    arrays = ogbench_arrays()
    last = arrays["terminals"]
    ends = last | np.append(last[1:], True)
    return arrays | {"valids": 1.0 - last, "terminals": ends.astype(np.float32)}


def ogbench_regular():
    arrays = ogbench_arrays()
    last = arrays["terminals"]
    regular = {name: array[~last] for name, array in arrays.items()}
    regular["terminals"] = np.append(last[1:], True)[~last].astype(np.float32)
    regular["next_observations"] = arrays["observations"][np.flatnonzero(~last) + 1]
    return regular


@pytest.mark.parametrize("make", [ogbench_arrays, ogbench_compact, ogbench_regular])
def test_ogbench_layouts_agree(save, make):
    transitions = data.load(save("ogbench", make()))
    starts, nexts = starts_and_nexts(transitions)
    assert starts == [0, 1, 2, 3, 100, 101, 102, 103]
    assert nexts == [1, 2, 3, 4, 101, 102, 103, 104]
    assert np.flatnonzero(transitions.dones).tolist() == [3, 7]
    assert np.flatnonzero(transitions.masks == 0).tolist() == [3]
    assert len(transitions.rows) == 10


def test_ogbench_ends_of_trajectories_are_no_terminations(save):
    arrays = ogbench_arrays()
    del arrays["masks"]
    assert data.load(save("ogbench", arrays)).masks.all()


def test_ogbench_without_rewards(save):
    arrays = ogbench_arrays()
    del arrays["rewards"]
    with pytest.raises(UserError, match=r"no rewards.*singletask"):
        data.load(save("ogbench", arrays))


@pytest.mark.parametrize("kind", ["d4rl", "npz"])
class TestBadFiles:
    def test_missing_arrays_are_named_beside_those_found(self, save, arrays, kind):
        del arrays["rewards"]
        with pytest.raises(
            UserError, match=r"lacks rewards; found actions, .*expected"
        ):
            data.load(save(kind, arrays))

    def test_unequal_lengths(self, save, arrays, kind):
        arrays["actions"] = arrays["actions"][:-1]
        with pytest.raises(
            UserError, match="'actions' has 11 rows, 'observations' has 12"
        ):
            data.load(save(kind, arrays))

    def test_two_reward_columns(self, save, arrays, kind):
        arrays["rewards"] = np.zeros((12, 2))
        with pytest.raises(UserError, match=r"'rewards' has shape \(12, 2\)"):
            data.load(save(kind, arrays))

    @pytest.mark.parametrize("name", ["observations", "actions"])
    @pytest.mark.parametrize("shape", [(12, 0), (12, 4, 4, 3)])
    def test_observations_and_actions_are_vectors(
        self, save, arrays, kind, name, shape
    ):
        arrays[name] = np.zeros(shape, np.float32)
        with pytest.raises(UserError, match=rf"'{name}' has shape .*one vector"):
            data.load(save(kind, arrays))

    @pytest.mark.parametrize("name", ["terminals", "timeouts"])
    @pytest.mark.parametrize("value", [np.nan, 0.5, 2.0, -1.0])
    def test_flags_are_0_or_1(self, save, arrays, kind, name, value):
        arrays[name] = arrays[name].astype(np.float64)
        data.load(save(kind, arrays))
        arrays[name][5] = value
        with pytest.raises(UserError, match=f"'{name}' holds {value} at row 5"):
            data.load(save(kind, arrays))

    def test_truncated(self, save, arrays, kind):
        dataset = save(kind, arrays)
        path = dataset.partition(":")[2]
        size = os.path.getsize(path)
        os.truncate(path, size * 2 // 3)
        with pytest.raises(UserError, match=r"truncated"):
            data.load(dataset)

    def test_not_of_the_format(self, tmp_path, kind):
        path = tmp_path / "notes.txt"
        path.write_text("hello")
        with pytest.raises(UserError, match=r"\(5 bytes\) is not an? "):
            data.load(f"{kind}:{path}")

    def test_not_there(self, tmp_path, kind):
        with pytest.raises(UserError, match="absent.x does not exist"):
            data.load(f"{kind}:{tmp_path / 'absent.x'}")

    def test_folder(self, tmp_path, kind):
        with pytest.raises(UserError, match="is a folder"):
            data.load(f"{kind}:{tmp_path}")


def test_damaged_member_of_an_npz(tmp_path, arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("actions.npy").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot read .*data.npz.*damaged"):
        data.load(f"npz:{path}")


def test_pickled_arrays_are_never_loaded(tmp_path, arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays | {"rewards": np.array([{}] * 12, object)})
    with pytest.raises(UserError, match="pickled objects are never loaded"):
        data.load(f"npz:{path}")


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': os.sys",
        "{'descr': (",
        "((((",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 11)}\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-5, 11)}\n",
    ],
)
def test_lying_headers_of_an_npz(tmp_path, header):
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("observations", "actions", "rewards", "terminals"):
            archive.writestr(f"{name}.npy", npy(header))
    with pytest.raises(UserError, match="cannot read .*data.npz.*damaged"):
        data.load(f"npz:{path}")


def test_more_rows_than_memory(tmp_path, arrays):
    path = tmp_path / "data.hdf5"
    with h5py.File(path, "w") as file:  # Chunks that were never written take no space.
        for name, array in arrays.items():
            shape = (2**52, *array.shape[1:])
            file.create_dataset(name, shape, array.dtype, chunks=(8, *array.shape[1:]))
    with pytest.raises(UserError, match="does not fit into this machine's memory"):
        data.load(f"d4rl:{path}")


def test_a_file_that_is_being_written_is_not_called_damaged(tmp_path):
    path = tmp_path / "x.hdf5"
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'w'); f.flush()"
    code += "; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, path]
    with subprocess.Popen(command, stdin=-1, stdout=-1) as writer:
        writer.stdout.readline()
        with pytest.raises(UserError, match="is being written by another program"):
            data.load(f"d4rl:{path}")
        writer.stdin.close()
