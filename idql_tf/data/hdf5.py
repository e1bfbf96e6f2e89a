"""HDF5 files as data: what a link or a layout in one names is read by rule only."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import h5py

from idql_tf.data.columns import Column, reading, rows_per_block
from idql_tf.errors import UserError

_MOST_LINKS = 16  # on the way to one array
# gzip packs a thousandfold at most; what claims more was never written. Small
# arrays that were never written are cheap.
_MOST_COMPRESSION, _SMALL_BYTES = 2_000, 2**26


class Tree:
    """An HDF5 file whose links lead where they may.

    Soft links stay in their file. External links are followed to regular files
    below `root`, by the same rule; without `root` they are refused.

    Args:
      file: the open file.
      root: the folder that external links may not leave.
      files: where the files that links lead to are held open.
    """

    def __init__(
        self, file: h5py.File, root: pathlib.Path | None, files: contextlib.ExitStack
    ) -> None:
        self._file, self._root, self._files = file, root, files
        self._linked: dict[pathlib.Path, h5py.File] = {}

    def __contains__(self, name: str) -> bool:
        return self._file.id.links.exists(name.encode())

    def find(self, name: str, group: h5py.Group | None = None) -> h5py.HLObject:
        """Opens `name` in a group, by default the file itself.

        Raises:
          KeyError: there is no such object.
          UserError: a link on the way may not be followed.
        """
        found, parts, links = group or self._file, name.split("/"), 0
        while parts:
            part = parts.pop(0)
            if part in ("", "."):
                continue
            if not isinstance(found, h5py.Group):
                raise KeyError(f"'{found.name}' is no group, it has no '{part}'")
            link = found.get(part, getlink=True)
            if link is None:
                raise KeyError(f"'{found.name}' has no '{part}'")
            if isinstance(link, h5py.HardLink):
                found = found[part]
                continue
            links += 1
            if links > _MOST_LINKS:
                raise UserError(f"'{name}' leads through more than {links - 1} links")
            if isinstance(link, h5py.ExternalLink):
                found = self._open(found, link)
            elif link.path.startswith("/"):
                found = found.file
            parts[:0] = link.path.split("/")
        return found

    def column(self, name: str, group: h5py.Group | None = None) -> Column:
        """Describes an array of numbers; raises as `find` and `column`."""
        return column(self.find(name, group), name)

    def _open(self, group: h5py.Group, link: h5py.ExternalLink) -> h5py.File:
        """Opens the file that an external link names, as HDF5 would find it."""
        target = (pathlib.Path(group.file.filename).parent / link.filename).resolve()
        if target in self._linked:
            return self._linked[target]
        what = f"'{group.name}' holds a link into the file {link.filename}"
        if self._root is None:
            raise UserError(f"{what}; expected one file; copy the arrays into it")
        if not target.is_relative_to(self._root.resolve()):
            raise UserError(
                f"{what}, outside {self._root}; links out of there are not followed; "
                f"move the datasets together, or bind "
                f"load_dataset.allow_external_links = True if you trust this one"
            )
        if not target.is_file():
            raise UserError(
                f"{what}, which is not there; a combined dataset needs the ones it "
                f"links to beside it; copy those too, or download it again"
            )
        self._linked[target] = self._files.enter_context(h5py.File(target, "r"))
        return self._linked[target]


@contextlib.contextmanager
def opened(path: pathlib.Path, root: pathlib.Path | None = None) -> Iterator[Tree]:
    """Opens an HDF5 file for reading; see `Tree`.

    Raises:
      UserError: it is not HDF5, or is found damaged while it is read.
    """
    if not h5py.is_hdf5(path):
        raise UserError(
            f"{path} ({path.stat().st_size:,} bytes) is not an HDF5 file; expected "
            f"the HDF5 signature; check the path, or download the file again"
        )
    with reading(path), contextlib.ExitStack() as files:
        yield Tree(files.enter_context(h5py.File(path, "r")), root, files)


def column(dataset: h5py.HLObject, name: str) -> Column:
    """Describes an HDF5 dataset of numbers that lie in the file itself.

    Raises:
      UserError: it holds no numbers, or takes them from other files.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise UserError(f"'{name}' is no array; expected one numeric row per step")
    if dataset.dtype.kind not in "fiub" or not dataset.shape:
        raise UserError(
            f"'{name}' has shape {dataset.shape} and type {dataset.dtype}; "
            f"expected one numeric row per step; store it as floats"
        )
    layout = dataset.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        raise UserError(
            f"'{name}' takes its numbers from other files (a virtual dataset or "
            f"external storage), which are not read; copy the array into this file"
        )
    step = rows_per_block(dataset.shape, dataset.dtype.itemsize)
    if dataset.chunks:  # whole chunks only, so that none is decompressed twice
        step = -(-step // dataset.chunks[0]) * dataset.chunks[0]

    def blocks() -> Iterator:
        stored = dataset.id.get_storage_size()
        if dataset.nbytes > max(_SMALL_BYTES, _MOST_COMPRESSION * stored):
            raise UserError(
                f"'{name}' claims shape {dataset.shape}, the file holds {stored:,} "
                f"bytes of it; expected a whole array; write the file again"
            )
        for start in range(0, dataset.shape[0], step):
            yield dataset[start : start + step]

    return Column(name, dataset.shape, dataset.dtype, blocks)
