"""What is written in a format is what is loaded, step by step."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import FEW

from idql_tf import data
from idql_tf.errors import UserError

EPISODES = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["terminals", "timeouts", None])),
    min_size=1,
    max_size=4,
)
SIZES = st.tuples(st.integers(1, 3), st.integers(1, 2))
TYPES = st.sampled_from(["f4", "f8", ">f4"])


def write(episodes, sizes, dtype, seed):
    """Flat arrays; what an episode ends with stands at its last row."""
    rng = np.random.default_rng(seed)
    total = sum(length for length, _ in episodes)
    arrays = {
        "observations": rng.normal(size=(total, sizes[0])).astype(np.float32),
        "actions": rng.uniform(-0.9, 0.9, (total, sizes[1])).astype(np.float32),
        "rewards": rng.uniform(1, 2, total).astype(np.float32),
        "terminals": np.zeros(total, bool),
        "timeouts": np.zeros(total, bool),
    }
    last = np.cumsum([length for length, _ in episodes]) - 1
    for row, (_, end) in zip(last, episodes, strict=True):
        if end:
            arrays[end][row] = True
    return arrays, {k: a.astype(dtype) for k, a in arrays.items()}


def check(dataset, steps, follow):
    """Compares with (row, next observation, mask, done) of each expected step."""
    arrays, expected = steps
    if not expected:
        with pytest.raises(UserError, match="no transition|at least 2"):
            data.load(dataset)
        return
    loaded = data.load(dataset)
    rows, nexts, masks, dones = zip(*expected, strict=True)
    rows = list(rows)
    np.testing.assert_array_equal(loaded.observations, arrays["observations"][rows])
    alive = np.array(masks) == 1
    np.testing.assert_array_equal(
        loaded.next_observations[alive if not follow else slice(None)],
        np.array(nexts)[alive if not follow else slice(None)],
    )
    np.testing.assert_allclose(loaded.actions, arrays["actions"][rows], atol=1e-6)
    np.testing.assert_array_equal(loaded.rewards, arrays["rewards"][rows])
    assert loaded.masks.tolist() == list(masks)
    assert loaded.dones.tolist() == list(dones)
    assert loaded.info.num_episodes == sum(dones)


def of_rows(arrays, last_terminal):
    """The steps of files in which the next row is the next observation."""
    observations, terminals = arrays["observations"], arrays["terminals"]
    total, found = len(observations), []
    for row in range(total):
        final = row == total - 1
        if final and not (last_terminal and terminals[row]):
            continue
        if arrays["timeouts"][row]:
            continue
        following = observations[min(row + 1, total - 1)]
        found.append([row, following, 1.0 - terminals[row], bool(terminals[row])])
    for k, step in enumerate(found):
        step[3] |= step is found[-1] or found[k + 1][0] != step[0] + 1
    return arrays, found if total > 1 else []


@FEW
@given(EPISODES, SIZES, TYPES, st.integers(0, 999))
def test_d4rl(tmp_path, episodes, sizes, dtype, seed):
    arrays, stored = write(episodes, sizes, dtype, seed)
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        for name, array in stored.items():
            file.create_dataset(name, data=array, chunks=(seed % 2 or None) and True)
    check(f"d4rl:{tmp_path / 'data.hdf5'}", of_rows(arrays, False), follow=False)


@FEW
@given(EPISODES, SIZES, TYPES, st.integers(0, 999))
def test_npz(tmp_path, episodes, sizes, dtype, seed):
    arrays, stored = write(episodes, sizes, dtype, seed)
    (np.savez, np.savez_compressed)[seed % 2](tmp_path / "data.npz", **stored)
    check(f"npz:{tmp_path / 'data.npz'}", of_rows(arrays, True), follow=False)


@FEW
@given(EPISODES, SIZES, st.integers(0, 999))
def test_npz_with_next_observations(tmp_path, episodes, sizes, seed):
    arrays, stored = write(episodes, sizes, "f4", seed)
    total = len(arrays["rewards"])
    apart = np.random.default_rng(seed).random(total) < 0.4
    following = np.roll(arrays["observations"], -1, axis=0) + apart[:, None] * 0.5
    following[-1], apart[-1] = arrays["observations"][-1] + 1, True
    following = following.astype(np.float32)
    np.savez(tmp_path / "data.npz", **stored, next_observations=following)
    ends = arrays["terminals"] | arrays["timeouts"] | apart
    masks = 1.0 - arrays["terminals"]
    steps = list(zip(range(total), following, masks, ends, strict=True))
    check(
        f"npz:{tmp_path / 'data.npz'}",
        (arrays, steps if total > 1 else []),
        follow=True,
    )


@FEW
@given(EPISODES, SIZES, TYPES, st.integers(0, 999))
def test_minari(tmp_path, episodes, sizes, dtype, seed):
    rng = np.random.default_rng(seed)
    arrays, stored = write(episodes, sizes, dtype, seed)
    folder = tmp_path / "any-v0" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    steps, start = [], 0
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        for number, (length, end) in enumerate(episodes):
            rows = slice(start, start + length)
            final = rng.normal(size=(1, sizes[0])).astype(np.float32)
            seen = np.concatenate([arrays["observations"][rows], final])
            group = file.create_group(f"episode_{number}")
            group["observations"] = seen.astype(dtype)
            for name in ("actions", "rewards"):
                group[name] = stored[name][rows]
            group["terminations"] = arrays["terminals"][rows]
            group["truncations"] = arrays["timeouts"][rows]
            for t in range(length):
                ends = t == length - 1
                mask = 0.0 if ends and end == "terminals" else 1.0
                steps.append((start + t, seen[t + 1], mask, ends))
            start += length

    def box(size, bound):
        bounds = {"low": [-bound] * size, "high": [bound] * size}
        return json.dumps(
            {"type": "Box", "dtype": "float32", "shape": [size], **bounds}
        )

    metadata = {
        "total_episodes": len(episodes),
        "observation_space": box(sizes[0], float("inf")),
        "action_space": box(sizes[1], 1.0),
        "minari_version": "0.5.3",
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    check(f"minari:{folder.parent}", (arrays, steps), follow=True)
