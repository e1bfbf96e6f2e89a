"""metadata.json of a Minari dataset, read as data: no code that it names is run."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import re
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from idql_tf.errors import UserError

_DATASET_ID = re.compile(r"([-\w]+/)*[-\w]+-v\d+")


def locate(name: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Finds or downloads a dataset.

    Args:
      name: a Minari ID, or a folder's path.

    Returns:
      Its folder, and the folder that links in its files may not leave: Minari's root
      for an ID, the one that holds the dataset's for a path.

    Raises:
      UserError: it is not to be had.
    """
    from minari.storage import hosting
    from minari.storage.datasets_root_dir import get_dataset_path

    folder = pathlib.Path(name).expanduser()
    if (folder / "data" / "metadata.json").is_file():
        return folder, folder.resolve().parent
    if not _DATASET_ID.fullmatch(name):
        raise UserError(
            f"'{name}' is neither a Minari dataset ID nor a folder with "
            f"data/metadata.json; expected an ID such as D4RL/door/human-v2; "
            f"correct the name"
        )
    folder = get_dataset_path(name)
    if not (folder / "data").is_dir():
        try:
            hosting.download_dataset(name)
        # Offline, a download raises whatever the hub's client library does.
        except Exception as error:
            raise UserError(
                f"Minari dataset '{name}': {folder} is not there and the download "
                f"failed ({_line(error)}); check the ID, connect to the internet, copy "
                f"the dataset into that folder, or set MINARI_DATASETS_PATH to where "
                f"it is"
            ) from error
    return folder, get_dataset_path()


def read(folder: pathlib.Path) -> dict[str, Any]:
    """Reads what is needed of a dataset's metadata.

    Minari itself would make the environment that a file without spaces names, by an
    entry point of the file's choice.

    Returns:
      `observation_space`, `action_space`, `total_episodes`, `env_spec` (JSON of the
      recorded evaluation environment without outdated fields, or None), and all
      else as it stands.

    Raises:
      UserError: something of it is missing or damaged, or written by another line of
        Minari.
    """
    file = folder / "data" / "metadata.json"
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
        found = {name: _space(metadata[name]) for name in _SPACES}
        found["total_episodes"] = _count(metadata["total_episodes"])
        found["env_spec"] = _env_spec(metadata)
        _check_version(metadata["minari_version"])
    # Gymnasium's spaces raise whatever NumPy does.
    except Exception as error:
        raise UserError(
            f"Minari dataset: {file} is unreadable ({_line(error)}); expected what "
            f"Minari writes; delete {folder} and download it again"
        ) from error
    arrays = folder / "data" / "main_data.hdf5"
    if not arrays.is_file():
        raise UserError(
            f"Minari dataset: {arrays} is missing; expected Minari's HDF5 format; "
            f"download it again or store it with data_format='hdf5'"
        )
    return metadata | found


_SPACES = ("observation_space", "action_space")


def _line(error: Exception) -> str:
    kind = f"{type(error).__name__}: " if isinstance(error, LookupError) else ""
    return kind + " ".join(str(error).split())[:300]


def _space(text: Any) -> spaces.Space:
    from minari.serialization import deserialize_space

    described = json.loads(text)
    _check_boxes(described)
    return deserialize_space(described)


def _check_boxes(described: dict[str, Any]) -> None:
    """Raises ValueError where a Box claims more numbers than it lists."""
    if described["type"] == "Box":
        size = math.prod(described["shape"])
        for bound in ("low", "high"):
            if np.size(described[bound]) != size:
                raise ValueError(f"a Box of {size} numbers lists others in '{bound}'")
    parts = described.get("subspaces", ())
    for part in parts.values() if isinstance(parts, dict) else parts:
        _check_boxes(part)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(f"total_episodes is {value!r:.60}, expected an integer from 0")
    return value


def _check_version(version: Any) -> None:
    from minari import __version__, supported_dataset_versions

    if version not in supported_dataset_versions:
        raise ValueError(f"Minari {__version__} does not read Minari {version!s:.60}'s")


def _env_spec(metadata: dict[str, Any]) -> str | None:
    """Returns the recorded evaluation environment without outdated fields."""
    recorded = metadata.get("eval_env_spec") or metadata.get("env_spec")
    if not recorded:
        return None
    known = {field.name for field in dataclasses.fields(EnvSpec) if field.init}
    spec = json.loads(recorded)
    if not isinstance(spec["id"], str):
        raise TypeError(f"the environment's id is {spec['id']!r:.60}, expected text")
    return json.dumps({key: spec[key] for key in spec if key in known})
