"""Small valid files of every format, and damage that knows the format."""

import io
import json
import pathlib
import zipfile

import h5py
import numpy as np
from mutations import damaged, damaged_json, hostile_array

# What no reader may show: it lies in a file that only links lead to.
CANARY = 12_345.75
ROWS = 12


def flat() -> dict[str, np.ndarray]:
    time = np.arange(ROWS, dtype=np.float32)
    terminals, timeouts = np.zeros((2, ROWS), bool)
    terminals[3] = timeouts[7] = True
    return {
        "observations": np.stack([time, -time], axis=1),
        "actions": np.stack([time, time], axis=1) / 100,
        "rewards": time,
        "terminals": terminals,
        "timeouts": timeouts,
    }


def write_canary(path: pathlib.Path) -> None:
    """An HDF5 file outside every dataset, complete in both layouts."""
    with h5py.File(path, "w") as file:
        for group in (file, file.create_group("episode_0")):
            group["observations"] = np.full((ROWS, 2), CANARY, np.float32)
            group["actions"] = np.zeros((ROWS, 2), np.float32)
            for name in ("rewards", "terminals", "terminations", "truncations"):
                group[name] = np.zeros(ROWS, np.float32)
    path.with_suffix(".raw").write_bytes(np.full((ROWS, 2), CANARY, "f4").tobytes())


def hdf5_bytes(arrays, damage=None, options=None) -> bytes:
    """An HDF5 file of flat arrays or, of names like 'a/b', of groups."""
    content = io.BytesIO()
    with h5py.File(content, "w", **options or {}) as file:
        for name, array in arrays.items():
            packed = {"compression": "gzip"} if array.ndim and array.size else {}
            file.create_dataset(name, data=array, **packed)
        if damage:
            damage(file)
    return content.getvalue()


def damaged_hdf5(arrays, rng, canary: pathlib.Path) -> bytes:
    options = {"libver": ("earliest", "latest")[rng.integers(2)]}
    if rng.integers(2):
        return damaged(hdf5_bytes(arrays, options=options), rng)
    name = list(arrays)[rng.integers(len(arrays))]
    if rng.integers(3) == 0:
        changed = hostile_array(arrays[name], rng)
        return hdf5_bytes(
            arrays | {name: changed} if changed.dtype.kind not in "UM" else {}
        )

    def damage(file):
        array = arrays[name]
        if "/" in name and rng.integers(4) == 0:
            target = name.rpartition("/")[0]
        else:
            target = name
        del file[target]
        _HDF5_FAULTS[rng.integers(len(_HDF5_FAULTS))](file, target, array, canary, rng)

    return hdf5_bytes(arrays, damage, options)


def _external_link(file, name, array, canary, rng):
    names = (
        str(canary),
        f"../../{canary.name}",
        "absent.hdf5",
        "/dev/zero",
        "/",
        "\udc80",
    )
    inner = ("/" + name.rpartition("/")[2], "/", "episode_0", "/nowhere")
    file[name] = h5py.ExternalLink(
        names[rng.integers(len(names))], inner[rng.integers(4)]
    )


def _soft_link(file, name, array, canary, rng):
    file["loop"] = h5py.SoftLink("/loop")
    file["wide"] = h5py.SoftLink("/".join(["out"] * 50))
    file["out"] = h5py.ExternalLink(str(canary), "/")
    targets = ("/loop", "/wide/x", "/out/observations", name, ".", "/", "../x", "//")
    file[name] = h5py.SoftLink(targets[rng.integers(len(targets))])


def _virtual(file, name, array, canary, rng):
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    source = (str(canary), ".")[rng.integers(2)]
    layout[...] = h5py.VirtualSource(source, "observations", array.shape, array.dtype)
    file.create_virtual_dataset(name, layout)


def _external_storage(file, name, array, canary, rng):
    raw = str(canary.with_suffix(".raw"))
    file.create_dataset(
        name, array.shape, "f4", external=[(raw, 0, h5py.h5f.UNLIMITED)]
    )


def _huge(file, name, array, canary, rng):
    rows = int(rng.choice([2**20, 2**31, 2**33, 2**40, 2**52]))
    shape = (rows, *array.shape[1:])
    file.create_dataset(name, shape, array.dtype, chunks=(64, *array.shape[1:]))


def _huge_chunk(file, name, array, canary, rng):
    file.create_dataset(
        name,
        array.shape,
        array.dtype,
        maxshape=(None, *array.shape[1:]),
        chunks=(int(rng.choice([2**20, 2**28])), *array.shape[1:]),
    )


def _odd_type(file, name, array, canary, rng):
    types = (
        h5py.string_dtype(),
        h5py.vlen_dtype(np.float32),
        h5py.ref_dtype,
        h5py.enum_dtype({"A": 0, "B": 9}, basetype="i1"),
        np.dtype("V7"),
        np.dtype(("f4", (3,))),
        np.dtype("c16"),
        h5py.h5t.STD_B8LE,
        h5py.h5t.UNIX_D32LE,
    )
    kind = types[rng.integers(len(types))]
    if isinstance(kind, h5py.h5t.TypeID):
        space = h5py.h5s.create_simple(array.shape)
        h5py.h5d.create(file.id, b"odd", kind, space)
        file.move("odd", name)
    else:
        file.create_dataset(name, array.shape, kind)


def _other_object(file, name, array, canary, rng):
    kind = rng.integers(4)
    if kind == 0:
        file.create_group(name)
    elif kind == 1:
        file[name] = np.dtype("f4")
    elif kind == 2:
        file[name] = h5py.Empty("f4")
    else:
        group = file.create_group(name)
        for _ in range(200):
            group = group.create_group("deep")
        group["back"] = file["/"]


_HDF5_FAULTS = (
    _external_link,
    _soft_link,
    _virtual,
    _external_storage,
    _huge,
    _huge_chunk,
    _odd_type,
    _other_object,
)


def npz_bytes(arrays) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def damaged_npz(arrays, rng) -> bytes:
    content = npz_bytes(arrays)
    kind = rng.integers(6)
    if kind < 2:
        return damaged(content, rng)
    name = list(arrays)[rng.integers(len(arrays))]
    if kind == 2:
        return npz_bytes(arrays | {name: hostile_array(arrays[name], rng)})
    # A member rewritten: a header that lies, a pickle, a repeated or odd name.
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {m: archive.read(m) for m in archive.namelist()}
    own = members[f"{name}.npy"]
    header = own[10:].partition(b"\n")[0] + b"\n"
    if kind == 3:
        words = (
            "<f4",
            "|O",
            "<f8",
            "|b1",
            "False",
            "True",
            "(12,",
            "(-1,",
            "(2**40,",
            "(),",
        )
        swap = [str(word).encode() for word in rng.choice(words, 2)]
        changed = header.replace(swap[0], swap[1])
        dims = (b"(99999999999,", b"(0,", b"(9223372036854775808,", b"('a',", b"(12.0,")
        if rng.integers(2):
            changed = header.replace(b"(12,", dims[rng.integers(len(dims))])
    else:
        changed = damaged(header, rng)
    body = own[10 + len(header) :] if kind != 5 else b"\x80\x04" + rng.bytes(8)
    version = ((1, 0), (2, 0), (3, 0), (0, 9))[rng.integers(4)] if kind == 4 else (1, 0)
    length = len(changed).to_bytes(2 if version < (2, 0) else 4, "little")
    members[f"{name}.npy"] = b"\x93NUMPY" + bytes(version) + length + changed + body
    again = io.BytesIO()
    with zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, part in members.items():
            archive.writestr(member, part)
        if kind == 5:
            archive.writestr("../../escaped.npy", own)
    return again.getvalue()


def minari_arrays() -> dict[str, np.ndarray]:
    arrays = {}
    for episode, length in enumerate((3, 4)):
        time = 100 * episode + np.arange(length + 1, dtype=np.float32)
        lead = f"episode_{episode}/"
        arrays[lead + "observations"] = np.stack([time, -time], axis=1)
        arrays[lead + "actions"] = np.stack([time[1:], time[1:]], axis=1) / 1_000
        arrays[lead + "rewards"] = np.arange(length, dtype=np.float32)
        arrays[lead + "terminations"] = np.zeros(length, bool)
        arrays[lead + "truncations"] = np.arange(length) == length - 1
    return arrays


def minari_metadata() -> str:
    def box(low, high):
        bounds = {"low": [low] * 2, "high": [high] * 2}
        return json.dumps({"type": "Box", "dtype": "float32", "shape": [2], **bounds})

    spec = {
        "id": "Pendulum-v1",
        "entry_point": "os:system",
        "kwargs": {"command": "id"},
    }
    return json.dumps(
        {
            "total_episodes": 2,
            "total_steps": 7,
            "data_format": "hdf5",
            "observation_space": box(-np.inf, np.inf),
            "action_space": box(-1.0, 1.0),
            "env_spec": json.dumps(spec),
            "dataset_id": "fuzz/two-v0",
            "minari_version": "0.5.3",
            "ref_min_score": 0.0,
            "ref_max_score": 9.0,
        }
    )


def damaged_metadata(rng) -> bytes:
    return damaged_json(minari_metadata(), rng)
