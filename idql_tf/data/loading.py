"""`load`: one function from a dataset's name to `Transitions`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import gin
import numpy as np
from gymnasium import spaces

from idql_tf.data import d4rl_source, minari_source, npz_source, ogbench_source
from idql_tf.data.environment_spaces import Environment, box_bounds, look_up
from idql_tf.data.preprocessing import key_order, to_unit_action
from idql_tf.data.scores import ScoreReference, environment_name, reference_for
from idql_tf.data.source import SourceData
from idql_tf.data.transitions import DatasetInfo, Transitions, content_hash
from idql_tf.data.validation import find_problems, row_blocks
from idql_tf.errors import UserError

_FORMS = {
    "minari": "minari:ID",
    "d4rl": "d4rl:FILE.hdf5",
    "ogbench": "ogbench:FILE.npz",
    "npz": "npz:FILE.npz",
}


# gin adds its own words to whatever a configurable raises, and hides its types
# from mypy, so the options are the configurable and not `load` itself.
@gin.configurable("load_dataset")
@dataclasses.dataclass(frozen=True)
class _Options:
    """What gin may bind.

    Attributes:
      observation_keys: keys of dict observations to use, in order.
      allow_external_links: follow HDF5 links out of a Minari dataset's root.
    """

    observation_keys: Sequence[str] | None = None
    allow_external_links: bool = False


def load(
    dataset: str,
    observation_keys: Sequence[str] | None = None,
    env_id: str | None = None,
    validate: bool = True,
) -> Transitions:
    """Loads a dataset into memory, each observation once.

    Args:
      dataset: `minari:ID`, `d4rl:FILE.hdf5`, `ogbench:FILE.npz` or
        `npz:FILE.npz`.
      observation_keys: keys of dict observations to use, in order; by default
        gin's `load_dataset.observation_keys`, else achieved_goal, observation,
        desired_goal where these are the keys, else all keys sorted.
      env_id: `ID` or `MODULE:ID` of the gymnasium environment to evaluate in,
        where the data record none or another is wanted.
      validate: whether data that cannot be trained on raise; if not, what is
        wrong is listed in `Transitions.problems`.

    Returns:
      M transitions with actions in [-1, 1] and raw rewards.

    Raises:
      UserError: the data cannot be read, or cannot be trained on.
    """
    kind, name = _parse(dataset)
    options = _Options()
    observation_keys = _checked_keys(observation_keys or options.observation_keys)
    environment = look_up(env_id) if env_id else None
    try:
        if kind == "minari":
            links = options.allow_external_links is True
            data = minari_source.load(name, observation_keys, links)
        else:
            data = _read_file(kind, name, environment)
    except UserError as error:
        if name in str(error):
            raise
        raise UserError(f"{dataset}: {error}") from error
    keys = _observation_keys(data, observation_keys, environment)
    low, high = _action_bounds(data, environment)
    problems = find_problems(data, low, high)
    if problems and validate:
        raise UserError(f"{dataset}: {problems[0]}")
    for _, block in row_blocks(data.actions):
        block[...] = to_unit_action(block, low, high)
    arrays = {
        "rows": data.rows,
        "index": data.index,
        "actions": data.actions,
        "rewards": data.rewards,
        "masks": data.masks,
        "dones": data.dones,
    }
    info = DatasetInfo(
        dataset=dataset,
        sha256=content_hash(**arrays),
        env_spec=environment.env_spec if environment else data.env_spec,
        observation_keys=keys,
        observation_size=data.rows.shape[1],
        action_low=tuple(low.tolist()),
        action_high=tuple(high.tolist()),
        reference=_reference(data, environment),
        num_episodes=int(data.dones.sum()),
    )
    return Transitions(**arrays, info=info, problems=problems)


def _parse(dataset: str) -> tuple[str, str]:
    kind, colon, name = dataset.partition(":")
    if kind not in _FORMS or not name:
        found = f"source '{kind}'" if colon else "no source prefix"
        raise UserError(
            f"dataset '{dataset}' has {found}; expected one of "
            f"{', '.join(_FORMS.values())}; write the prefix that fits"
        )
    return kind, name


def _checked_keys(keys: Sequence[str] | None) -> Sequence[str] | None:
    if keys is None or (
        isinstance(keys, (list, tuple)) and all(isinstance(key, str) for key in keys)
    ):
        return keys
    raise UserError(
        f"load_dataset.observation_keys is {keys!r}; expected a list of names such as "
        f"['observation', 'desired_goal']; correct the binding"
    )


def _read_file(kind: str, name: str, environment: Environment | None) -> SourceData:
    if kind == "d4rl":
        limit = environment.spec.max_episode_steps if environment else None
        return d4rl_source.load(name, limit)
    return ogbench_source.load(name) if kind == "ogbench" else npz_source.load(name)


def _observation_keys(
    data: SourceData,
    wanted: Sequence[str] | None,
    environment: Environment | None,
) -> tuple[str, ...]:
    """Decides how the environment's observations become the data's vectors.

    Raises:
      UserError: they have another size than the data's.
    """
    if environment is None:
        if wanted is not None and not data.observation_keys:
            raise UserError(
                f"load_dataset.observation_keys is {list(wanted)}, the dataset has "
                f"plain vectors; expected no binding; remove it or pass --env_id"
            )
        return data.observation_keys
    space, keys = environment.observation_space, data.observation_keys
    if isinstance(space, spaces.Dict):
        keys = key_order(list(space.spaces), keys or wanted)
        sizes = {key: spaces.flatdim(space[key]) for key in space.spaces}
        parts = ", ".join(f"{key} {size}" for key, size in sizes.items())
        size = sum(sizes[key] for key in keys)
    else:
        size, parts, keys = spaces.flatdim(space), "one vector", ()
    if size != data.rows.shape[1]:
        raise UserError(
            f"environment '{environment.spec.id}' gives {size} numbers ({parts}), "
            f"observations of the dataset have {data.rows.shape[1]}; expected equal "
            f"sizes; choose another --env_id or bind load_dataset.observation_keys"
        )
    return keys


def _action_bounds(
    data: SourceData, environment: Environment | None
) -> tuple[np.ndarray, np.ndarray]:
    """Takes the bounds from the dataset, else the environment, else [-1, 1]."""
    size = data.actions.shape[1]
    named = None
    if environment is not None:
        named = box_bounds(environment.action_space, f"'{environment.spec.id}'")
        if len(named[0]) != size:
            raise UserError(
                f"environment '{environment.spec.id}' takes {len(named[0])} action "
                f"numbers, actions of the dataset have {size}; expected equal sizes; "
                f"choose another --env_id"
            )
    return data.action_bounds or named or (-np.ones(size), np.ones(size))


def _reference(
    data: SourceData, environment: Environment | None
) -> ScoreReference | None:
    """Picks the score reference; the dataset's own holds for its own environment."""
    recorded = json.loads(data.env_spec) if data.env_spec else None
    if environment is None:
        if data.reference or recorded is None:
            return data.reference
        return reference_for(recorded["id"], recorded.get("kwargs"))
    used = environment.spec
    same = not recorded or environment_name(recorded["id"]) == environment_name(used.id)
    if data.reference and same:
        return data.reference
    return reference_for(used.id, used.kwargs)
