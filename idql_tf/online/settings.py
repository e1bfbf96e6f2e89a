"""How a run is finetuned: budget and rhythm, counted in environment steps."""

from __future__ import annotations

import dataclasses
import math

import gin

from idql_tf import extraction
from idql_tf.errors import UserError, check_count, check_number

_RHYTHM = ("log_every", "checkpoint_every", "evaluate_every", "weights_every")
_MOST = {
    "critic_updates_per_step": 1e6,
    "behavior_updates_per_step": 1e6,
    "offline_fraction": 1.0,
    "server_checkpoint_seconds": 1e6,
    "deadline_seconds": 1e6,
}


@gin.configurable("finetune")
@dataclasses.dataclass(frozen=True)
class Settings:
    """Budget and rhythm of finetuning; steps are environment steps of one seed.

    Attributes:
      exploration: how actors choose, one of `extraction.METHODS`.
      num_candidates: N of the actors.
      num_environments: E, environments of one actor for each seed.
      warm_start_steps: steps before the first update.
      critic_updates_per_step: update-to-data ratio of the critic.
      behavior_updates_per_step: the same of the behaviour model; 0 freezes it.
      offline_fraction: part of every batch that comes from the dataset.
      capacity: online transitions kept of each seed, the newest.
      offline_transitions_per_item: K of the server's table `offline`.
      queue_steps: steps that may wait for the learner; then actors wait for it.
      weights_every: steps between the learner's publications of the policy, and an
        actor's own steps between its looks for a newer one.
      server_checkpoint_seconds: between checkpoints of a replay server of its own.
      deadline_seconds: how long to wait for the replay server.
      log_every: steps between rows of metrics.csv.
      checkpoint_every: steps between checkpoints.
      evaluate_every: steps between evaluations; the first is at step 0.
      episodes: per evaluation, method and seed.
      keep_checkpoints: how many of the newest are kept.
    """

    exploration: str
    num_candidates: int
    num_environments: int
    warm_start_steps: int
    critic_updates_per_step: float
    behavior_updates_per_step: float
    offline_fraction: float
    capacity: int
    offline_transitions_per_item: int
    queue_steps: int
    weights_every: int
    server_checkpoint_seconds: float
    deadline_seconds: float
    log_every: int
    checkpoint_every: int
    evaluate_every: int
    episodes: int
    keep_checkpoints: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                least = 0 if field.name == "warm_start_steps" else 1
                check_count(f"finetune.{field.name}", value, least)
            elif field.type == "float":
                most = _MOST[field.name]
                shortest = 0.1 if field.name.endswith("seconds") else 0.0
                check_number(f"finetune.{field.name}", value, shortest, most)
        extraction.check_method(self.exploration, self.num_candidates)
        for name in _RHYTHM:
            if getattr(self, name) % self.num_environments:
                raise UserError(
                    f"finetune.{name} is {getattr(self, name)}; expected a multiple of "
                    f"finetune.num_environments, {self.num_environments}"
                )

    def due(self, step: int) -> tuple[int, int]:
        """Critic and behaviour updates due after `step` environment steps."""
        # In the first update's step one is due, as in the released code.
        steps = max(0, step - self.warm_start_steps)
        ratios = self.critic_updates_per_step, self.behavior_updates_per_step
        critic, behavior = (math.floor(ratio * steps + 1e-9) for ratio in ratios)
        return critic, behavior

    def until_due(self, step: int, last: int) -> int:
        """Steps from `step` to the next at which anything is due."""
        rhythm = [getattr(self, name) for name in _RHYTHM]
        return min(last - step, *(every - step % every for every in rhythm))
