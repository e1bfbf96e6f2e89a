"""What a Ray cluster is asked for, and what a sweep runs on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gin

from idql_tf import tasks
from idql_tf.errors import UserError, check_count, check_number, check_seeds

_MODES = ("", "max", "imp")


@gin.configurable("cluster")
@dataclasses.dataclass(frozen=True)
class Placement:
    """What Ray is asked for.

    Attributes:
      num_actors: actor processes.
      actor_cpus: of each.
      learner_cpus: of the learner, and of every run of a sweep.
      learner_gpus: the same.
      everywhere: spread a finetuning over the cluster's nodes; its server then listens
        on all interfaces. Else all is placed on the node that asks.
    """

    num_actors: int
    actor_cpus: float
    learner_cpus: float
    learner_gpus: float
    everywhere: bool

    def __post_init__(self) -> None:
        check_count("cluster.num_actors", self.num_actors)
        for name in ("actor_cpus", "learner_cpus", "learner_gpus"):
            check_number(f"cluster.{name}", getattr(self, name))

    @property
    def learner(self) -> dict[str, float]:
        """Ray's own names of what the learner takes."""
        return {"num_cpus": self.learner_cpus, "num_gpus": self.learner_gpus}


@gin.configurable("sweep")
@dataclasses.dataclass(frozen=True)
class Sweep:
    """What is run.

    Attributes:
      tasks: {name: {'dataset': ..., and maybe 'env_id', 'gin_files', 'gin_params'}}.
      seeds: of every task.
      seeds_per_run: seeds trained in one program.
      finetune: 'max' or 'imp' finetunes every run; '' does not.
      num_env_steps: of that.
    """

    tasks: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int]
    seeds_per_run: int
    finetune: str
    num_env_steps: int

    def __post_init__(self) -> None:
        check_count("sweep.seeds_per_run", self.seeds_per_run)
        if self.finetune not in _MODES:
            raise UserError(f"sweep.finetune is {self.finetune!r}; expected {_MODES}")
        if self.finetune:
            check_count("sweep.num_env_steps", self.num_env_steps)
        check_seeds("sweep.seeds", self.seeds)
        tasks.check("sweep.tasks", self.tasks, "gin/sweeps/mazes.gin")

    def groups(self) -> list[tuple[int, ...]]:
        """The seeds of each run of a task."""
        size, seeds = self.seeds_per_run, tuple(self.seeds)
        return [seeds[i : i + size] for i in range(0, len(seeds), size)]
