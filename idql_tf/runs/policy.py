"""The policy of a trained run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from rich.console import Console
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from idql_tf.data import DatasetInfo
from idql_tf.environments import py_environment
from idql_tf.errors import UserError
from idql_tf.nn.dense import use_bfloat16
from idql_tf.policies import IdqlPolicy
from idql_tf.runs import directory, jobs
from idql_tf.runs.directory import Run
from idql_tf.training.learner import IdqlLearner, take_member


def load(run_dir: str, seed: int | None = None, **options: Any) -> IdqlPolicy:
    """The policy of a trained run, for programs of one's own.

    Puts the run's gin configuration in force.

    Args:
      run_dir: a run of `train`.
      seed: training seed; None takes the run's first.
      **options: further arguments of `make`; by default argmax of the largest number
        of candidates that the run evaluates.

    Raises:
      UserError: as `restore` and `make`.
    """
    run = directory.open_run(run_dir, (), ())
    given: dict[str, Any] = {
        "num_candidates": largest_num_candidates(run),
        "extraction": "argmax",
    }
    chosen = run.seeds[0] if seed is None else seed
    return make(run, restore(run), chosen, **given | options)


def largest_num_candidates(run: Run) -> int:
    """The largest N that the run was configured to evaluate.

    Raises:
      UserError: it records none.
    """
    methods = directory.read_spec(run.path).get("methods")
    if not methods:
        raise UserError(f"{run.path} records no methods; give --num_candidates")
    return max(int(count) for _, count in methods)


def restore(run: Run) -> IdqlLearner:
    """Builds the run's learner and loads its newest checkpoint.

    The run's configuration must be in force (`directory.open_run`).

    Raises:
      UserError: there is no checkpoint, or none that fits.
    """
    learner = jobs.make_learner(run)
    with run.locked(to_read=True):
        console = Console(stderr=True, soft_wrap=True)
        jobs.restore_trained(run, learner, console)
    return learner


def make(
    run: Run,
    learner: IdqlLearner,
    seed: int | None,
    num_candidates: int,
    extraction: str,
    bfloat16: bool = False,
    safe_action: Sequence[float] | None = None,
    **options: Any,
) -> IdqlPolicy:
    """Makes the policy of one seed of a run, or of all as an ensemble.

    Args:
      run: the run.
      learner: its restored learner; an ensemble in bfloat16 rounds it in place.
      seed: one of the run's seeds; None pools them.
      num_candidates: N, of every seed where they are pooled.
      extraction: one of `extraction.METHODS`.
      bfloat16: round the dense layers' weights and inputs to bfloat16.
      safe_action: see `IdqlPolicy`.
      **options: further arguments of `IdqlPolicy`.

    Raises:
      UserError: the run has no such seed, or its environment does not fit its data.
    """
    if seed is not None and seed not in run.seeds:
        raise UserError(
            f"{run.path} has no seed {seed}; expected one of "
            f"{', '.join(map(str, run.seeds))}"
        )
    if seed is not None:
        learner = take_member(learner, run.seeds.index(seed))
    if bfloat16:
        use_bfloat16([learner.critic.target_q, learner.critic.value])
        use_bfloat16([learner.behavior.average])
    return IdqlPolicy(
        _time_step_spec(run),
        _action_spec(run.info),
        learner.critic,
        learner.behavior,
        num_candidates,
        extraction,
        observation_keys=run.info.observation_keys or None,
        pooled=seed is None,
        safe_action=safe_action,
        **options,
    )


def _action_spec(info: DatasetInfo) -> tensor_spec.BoundedTensorSpec:
    """Spec of the environment's actions: float32 [A], or int64 [] of discrete ones."""
    bounds = info.action_low, info.action_high
    if info.discrete_actions:
        numbers = (int(bound[0]) for bound in bounds)
        return tensor_spec.BoundedTensorSpec([], tf.int64, *numbers, "action")
    return tensor_spec.BoundedTensorSpec(
        [info.action_size], tf.float32, *bounds, "action"
    )


def _time_step_spec(run: Run) -> ts.TimeStep:
    """Specs of what the run's environment gives; flat where it records none."""
    info = run.info
    if info.env_spec is None:
        return ts.time_step_spec(
            tf.TensorSpec([info.observation_size], tf.float32, "observation")
        )
    environment = py_environment.load(info.env_spec)
    spec = tensor_spec.from_spec(environment.observation_spec())
    environment.close()
    if isinstance(spec, dict) != bool(info.observation_keys):
        raise UserError(
            f"the environment of {run.path} observes {spec}; the data recorded keys "
            f"{list(info.observation_keys)}; export with the data's environment"
        )
    return ts.time_step_spec(spec)
