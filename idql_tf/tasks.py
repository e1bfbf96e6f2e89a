"""What a sweep's or a study's tasks must be: names, data and gin files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from idql_tf.errors import UserError

KEYS = frozenset({"dataset", "env_id", "gin_files", "gin_params"})


def check(name: str, tasks: Any, example: str, keys: Collection[str] = KEYS) -> None:
    """Refuses what is no mapping of names to what is trained.

    Args:
      name: of the setting.
      tasks: {name: {'dataset': ..., and maybe others of `keys`}}.
      example: a gin file that shows how.
      keys: what a task may have.

    Raises:
      UserError: so.
    """
    if not isinstance(tasks, Mapping):
        raise UserError(
            f"{name} is {tasks!r:.60}; expected a dict of tasks; see {example}"
        )
    if not tasks:
        kind = name.partition(".")[0]
        raise UserError(f"the {kind} has no tasks; expected some; see {example}")
    for one, task in tasks.items():
        if not isinstance(task, Mapping):
            raise UserError(
                f"{name}: {one!r} is {task!r:.60}; expected a dict with 'dataset'"
            )
        if not str(one).replace("-", "").replace("_", "").isalnum():
            raise UserError(f"{name}: {one!r} is no name for a directory")
        if "dataset" not in task or set(task) - set(keys):
            raise UserError(
                f"{name}: {one!r} has {sorted(task)}; expected 'dataset' and nothing "
                f"but {sorted(keys)}"
            )
