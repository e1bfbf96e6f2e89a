"""`load`: one function from a dataset's name to `Transitions`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import gin
import numpy as np
from gymnasium import spaces

from idql_tf.data import d4rl_source, minari_source, npz_source, ogbench_source
from idql_tf.data.environment_spaces import Environment, action_bounds, look_up
from idql_tf.data.preprocessing import key_order, to_one_hot, to_unit_action
from idql_tf.data.scores import ScoreReference, environment_name, reference_for
from idql_tf.data.source import ActionBounds, SourceData
from idql_tf.data.transitions import (
    DatasetInfo,
    Transitions,
    aligned_empty,
    content_hash,
)
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
      M transitions with actions in [-1, 1], or one-hot, and raw rewards.

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
    bounds = _action_bounds(data, environment)
    problems = find_problems(data, bounds)
    if problems and validate:
        raise UserError(f"{dataset}: {problems[0]}")
    arrays = {
        "rows": data.rows,
        "index": data.index,
        "actions": _stored_actions(data.actions, bounds),
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
        action_low=tuple(bounds.low.tolist()),
        action_high=tuple(bounds.high.tolist()),
        reference=_reference(data, environment),
        num_episodes=int(data.dones.sum()),
        discrete_actions=bounds.discrete,
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


def _action_bounds(data: SourceData, environment: Environment | None) -> ActionBounds:
    """Takes the bounds from the dataset, else the environment, else [-1, 1].

    Raises:
      UserError: the environment takes other actions, or nothing tells whether integers
        are discrete actions.
    """
    size, recorded = data.actions.shape[1], data.action_bounds
    if environment is None:
        if data.integer_actions and recorded is None:
            raise UserError(
                "the actions are one integer per step, and nothing tells whether they "
                "number discrete actions; expected floats, or the environment they "
                "belong to; name it with --env_id"
            )
        return recorded or ActionBounds(-np.ones(size), np.ones(size))
    name = environment.spec.id
    named = action_bounds(environment.action_space, f"'{name}'")
    if len(named.low) != size or (recorded and str(recorded) != str(named)):
        raise UserError(
            f"environment '{name}' takes {named}, actions of the dataset have "
            f"{recorded or size}; expected equal sizes; choose another --env_id"
        )
    return recorded or named


def _stored_actions(actions: np.ndarray, bounds: ActionBounds) -> np.ndarray:
    """Maps actions to [-1, 1] in place, or discrete ones to one-hot [M, A]."""
    low, high, discrete = bounds
    if discrete:
        stored = aligned_empty((len(actions), int(high[0] - low[0]) + 1))
        stored[...] = to_one_hot(actions, low[0], high[0])
        return stored
    for _, block in row_blocks(actions):
        block[...] = to_unit_action(block, low, high)
    return actions


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
