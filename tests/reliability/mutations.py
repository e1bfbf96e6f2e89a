"""Damage: bytes of any file, values of any JSON, cells of any table."""

import copy
import json

import numpy as np

# What parsers, arithmetic and pages stumble over.
HOSTILE = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**64), 10**400),
    *(0.5, 1e308, -1e308, float("nan"), float("inf"), -float("inf"), 1e-320),
    *("", " ", "x", "NaN", "1e999", "0x10", "\u0660", "\ud800", "\x00", "a" * 5_000),
    *("../../x", "%s%n{0}", "<script>", "\u202e", "-0", "1_0", "\n", ",", "'\"\\"),
    *([], {}, [[]], [1, "x"], {"id": 3}, {"type": "Box"}, [None] * 100, [0] * 70_000),
)
_BYTES = (b"\x00", b"\xff", b"\n", b",", b'"', b"{", b"]", b"-", b"9", b"\xed\xa0\x80")


def damaged(content: bytes, rng) -> bytes:
    """The bytes with a few faults of one kind."""
    data = bytearray(content)
    kind = rng.integers(8)
    if kind == 0 or not data:
        return rng.bytes(int(rng.integers(64)))
    size = len(data)
    place = lambda: int(rng.integers(size))  # noqa: E731
    if kind == 1:
        return bytes(data[: place()])
    if kind in (2, 3):  # Most of all: one byte or a few.
        for _ in range(1 if kind == 2 else int(rng.integers(2, 17))):
            data[place()] = int(rng.integers(256))
        return bytes(data)
    length = int(rng.integers(1, max(2, size // 4)))
    here, there = place(), place()
    block = data[here : here + length]
    if kind == 4:
        data[here : here + length] = data[there : there + length]
        data[there : there + len(block)] = block
    elif kind == 5:
        data[here : here + len(block)] = bytes([int(rng.integers(2)) * 255]) * len(
            block
        )
    elif kind == 6:
        data[there:there] = block
    else:
        word = _BYTES[rng.integers(len(_BYTES))] * int(rng.integers(1, 9))
        data[here : here + len(word)] = word
    return bytes(data)


def hostile(rng):
    if rng.integers(25) == 0:
        deep = []
        for _ in range(int(rng.choice([50, 400]))):
            deep = [deep]
        return deep
    # A copy: what is damaged further must not reach other files, or hold itself.
    return copy.deepcopy(HOSTILE[rng.integers(len(HOSTILE))])


def damaged_json(text: str, rng) -> bytes:
    """JSON with one value replaced, dropped, renamed or repeated; or damaged bytes."""
    kind = rng.integers(10)
    if kind < 3:
        return damaged(text.encode(), rng)
    if kind == 3:
        return [b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5_000, b"\xff\xfe{\x00}\x00"][
            rng.integers(4)
        ]
    try:
        tree = json.loads(text)
    except (RecursionError, ValueError):  # JSON within JSON that is damaged already.
        return damaged(text.encode(), rng)
    for _ in range(int(rng.integers(1, 3))):
        parent, key = _somewhere(tree, rng)
        # Specs and spaces are JSON within JSON.
        if isinstance(parent[key], str) and parent[key][:1] == "{" and kind > 5:
            parent[key] = damaged_json(parent[key], rng).decode(errors="replace")
        elif kind == 4:
            del parent[key]
        else:
            parent[key] = hostile(rng)
        if not tree:
            break
    return json.dumps(tree).encode()


def _somewhere(tree, rng):
    """A container in the tree and one of its keys."""
    node = tree
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = keys[rng.integers(len(keys))]
        if (
            not isinstance(node[key], (dict, list))
            or not node[key]
            or rng.random() < 0.2
        ):
            return node, key
        node = node[key]


def damaged_table(text: str, rng) -> bytes:
    """A CSV with cells, rows or the header changed; or damaged bytes."""
    if rng.integers(3) == 0:
        return damaged(text.encode(), rng)
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(int(rng.integers(1, 6))):
        row = int(rng.integers(len(rows)))
        kind = rng.integers(5)
        if kind == 0:
            rows.insert(row, rows[rng.integers(len(rows))])
        elif kind == 1:
            rows[row] = rows[row][: rng.integers(len(rows[row]) + 1)]
        else:
            # A column's same cell in one row or in all.
            cell = int(rng.integers(max(1, len(rows[-1]))))
            value = str(hostile(rng))[:10_000]
            for part in rows[1:] if kind == 2 else [rows[row]]:
                if cell < len(part):
                    part[cell] = value
    return "\n".join(map(",".join, rows)).encode(errors="surrogatepass") + b"\n"


def hostile_array(array: np.ndarray, rng) -> np.ndarray:
    """An array of another type, shape or content."""
    array, kind = np.atleast_1d(array), rng.integers(8)
    if kind == 0:
        types = (
            "f2",
            "f8",
            "g",
            "i1",
            "u8",
            "?",
            "c8",
            "S3",
            "U2",
            "M8[s]",
            ">f4",
            ">i2",
        )
        return array.astype(types[rng.integers(len(types))])
    if kind == 1:
        shapes = ((), (0,), (0, 2), (-1, 1), (1, -1), (-1, 1, 1, 1), (2, -1))
        shape = shapes[rng.integers(len(shapes))]
        known = abs(int(np.prod(shape)))
        fits = -1 in shape and array.size and array.size % known == 0
        return array.reshape(shape) if fits else np.zeros(np.abs(shape).astype(int))
    if kind == 2:
        return array[: rng.integers(len(array) + 1)]
    if kind == 3:
        return np.zeros((len(array), 2), [("a", "f4"), ("b", "i8")])
    changed = array.astype("f8", copy=True)
    extremes = (np.nan, np.inf, -np.inf, 1e300, 3e38, -1.0, 2.0, 1e-320, 0.0)
    value = extremes[rng.integers(len(extremes))]
    if kind == 4 or not changed.size:
        return np.full_like(changed, value)
    changed.flat[rng.integers(changed.size)] = value
    return changed
