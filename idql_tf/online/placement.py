"""What is asked of a Ray cluster."""

from __future__ import annotations

import dataclasses

import gin

from idql_tf.errors import check_count, check_number


@gin.configurable("cluster")
@dataclasses.dataclass(frozen=True)
class Placement:
    """What Ray is asked for.

    Attributes:
      num_actors: actor processes.
      actor_cpus: of each.
      learner_cpus: of the learner, and of every run of a sweep.
      learner_gpus: the same.
    """

    num_actors: int
    actor_cpus: float
    learner_cpus: float
    learner_gpus: float

    def __post_init__(self) -> None:
        check_count("cluster.num_actors", self.num_actors)
        for name in ("actor_cpus", "learner_cpus", "learner_gpus"):
            check_number(f"cluster.{name}", getattr(self, name))

    @property
    def learner(self) -> dict[str, float]:
        """Ray's own names of what the learner takes."""
        return {"num_cpus": self.learner_cpus, "num_gpus": self.learner_gpus}
