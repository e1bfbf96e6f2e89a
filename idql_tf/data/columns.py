"""Named arrays of a file, read block by block so that nothing is held twice."""

from __future__ import annotations

import contextlib
import math
import pathlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from idql_tf.errors import UserError

BLOCK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Column:
    """One array of a file, of which only the shape has been read.

    Attributes:
      name: the array's name in the file.
      shape: its shape; the first axis counts steps.
      dtype: of its numbers.
      blocks: starts a pass over the array, yielding consecutive blocks.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    blocks: Callable[[], Iterator[np.ndarray]]

    @property
    def width(self) -> int:
        """Numbers per step."""
        return math.prod(self.shape[1:])

    def fill(
        self,
        out: np.ndarray,
        keep: np.ndarray | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        """Copies the array, or its steps where `keep`, into `out`.

        Args:
          out: array [kept steps] or [kept steps, width], cast to its dtype.
          keep: bool [steps], or None for all.
          advance: told how many steps were read after every block.
        """
        read = written = 0
        for block in self.blocks():
            chosen = block if keep is None else block[keep[read : read + len(block)]]
            target = out[written : written + len(chosen)]
            # A float64 value beyond float32 becomes inf, which validation names.
            with np.errstate(over="ignore"):
                target[...] = chosen.reshape(target.shape)
            read += len(block)
            written += len(chosen)
            if advance:
                advance(len(block))

    def flags(self) -> np.ndarray:
        """Reads the array as booleans [steps].

        Raises:
          UserError: a value is neither 0 nor 1.
        """
        flags = np.empty(self.shape[0], bool)
        start = 0
        for block in self.blocks():
            values = block.reshape(len(block))
            bad = np.flatnonzero((values != 0) & (values != 1))
            if len(bad):
                raise UserError(
                    f"'{self.name}' holds {values[bad[0]]} at row {start + bad[0]}; "
                    f"expected 0 or 1; correct the array"
                )
            flags[start : start + len(block)] = values
            start += len(block)
        return flags


def paired_blocks(
    first: Column, second: Column
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields blocks of the same rows of two equally long columns."""
    of_first, of_second = first.blocks(), second.blocks()
    a = b = np.empty(0)
    while True:
        a = a if len(a) else next(of_first, a)
        b = b if len(b) else next(of_second, b)
        rows = min(len(a), len(b))
        if not rows:
            return
        yield a[:rows], b[:rows]
        a, b = a[rows:], b[rows:]


def rows_per_block(shape: tuple[int, ...], itemsize: int) -> int:
    """Steps in a block of about `BLOCK_BYTES`."""
    return max(1, BLOCK_BYTES // max(1, math.prod(shape[1:]) * itemsize))


def npz_columns(path: pathlib.Path) -> dict[str, Column]:
    """Describes every array of an .npz file; pickled ones are refused on use."""
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.namelist() if m.endswith(".npy")]
        return {m[:-4]: _npy_column(archive, path, m) for m in members}


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def _npy_column(archive: zipfile.ZipFile, path: pathlib.Path, member: str) -> Column:
    with archive.open(member) as stream:
        shape, fortran_order, dtype = _read_header(stream)
        held = archive.getinfo(member).file_size - stream.tell()
    name = member[:-4]
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or (needed > held and not dtype.hasobject):
        raise ValueError(
            f"'{name}' claims shape {shape}, the file holds {held:,} bytes"
        )
    step = rows_per_block(shape, dtype.itemsize)
    if fortran_order and len(shape) > 1:
        step = shape[0]  # stored column by column: there are no row blocks

    def blocks() -> Iterator[np.ndarray]:
        if dtype.kind not in "fiub" or not shape:
            raise UserError(
                f"{path}: '{name}' has shape {shape} and type {dtype}; expected one "
                f"numeric row per step (pickled objects are never loaded)"
            )
        order = shape[:0:-1] if fortran_order else shape[1:]
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            _read_header(stream)
            for start in range(0, shape[0], step):
                rows = min(step, shape[0] - start)
                count = rows * math.prod(order) * dtype.itemsize
                data = stream.read(count)
                if len(data) < count:
                    raise EOFError(f"'{name}' ends early")
                block = np.frombuffer(data, dtype)
                if fortran_order:
                    yield block.reshape((*order, rows)).T
                else:
                    yield block.reshape((rows, *order))

    return Column(name, shape, dtype, blocks)


def existing_file(name: str) -> pathlib.Path:
    """Returns the path of a data file.

    Raises:
      UserError: there is no such file.
    """
    path = pathlib.Path(name).expanduser()
    if path.is_dir():
        raise UserError(f"{path} is a folder; expected a data file; name the file")
    if not path.is_file():
        raise UserError(
            f"{path} does not exist (looked in {pathlib.Path.cwd()}); "
            f"check the path after the source prefix"
        )
    return path


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
    """Turns what a damaged or forbidden file raises into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(
            f"{path} may not be read ({error.strerror}); have its owner allow it"
        ) from error
    except BlockingIOError as error:
        raise UserError(
            f"{path} is being written by another program; wait until it has closed it"
        ) from error
    except (
        ArithmeticError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        struct.error,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        detail = " ".join(str(error).split())
        raise UserError(
            f"cannot read {path}: {detail}; the file looks truncated or damaged, "
            f"copy or download it again"
        ) from error
    except MemoryError as error:
        raise UserError(
            f"{path} does not fit into this machine's memory ({error}); check that "
            f"its arrays are as large as they should be"
        ) from error
