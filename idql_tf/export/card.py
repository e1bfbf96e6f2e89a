"""The model card beside an exported model: what it is, and what it scored."""

from __future__ import annotations

from typing import Any

from idql_tf.policies import IdqlPolicy

FORMAT = "idql_tf model card 1"


def describe(policy: IdqlPolicy, spec: dict[str, Any], seeds: list[int]) -> dict:
    """Returns the card's part on the model and the data it was trained on.

    Args:
      policy: what is exported.
      spec: spec.json of its run.
      seeds: the training seeds in it.
    """
    spaces = policy.spaces
    observed = policy.time_step_spec.observation
    keys = [
        {"name": key, "shape": observed[key].shape.as_list()}
        for key in spaces.observation_keys
    ]
    data, steps = spec["dataset"], policy.noise_shape[1]
    return {
        "format": FORMAT,
        "method": f"{policy.extraction} of N candidates of a behaviour model",
        "behavior_model": policy.behavior_kind,
        "observation": {
            "size": spaces.observation_size,
            "dtype": "float32",
            # Their concatenation, in this order, is the observation.
            "keys": keys,
            "seen_in_training": spec.get("observation_statistics"),
        },
        "action": {
            # Numbers, or choices where the dtype is an integer.
            "size": spaces.action_size,
            "dtype": "int64" if spaces.discrete else "float32",
            "low": spaces.low.tolist(),
            "high": spaces.high.tolist(),
        },
        "extraction": policy.extraction,
        # Of an ensemble, each seed proposes this many.
        "num_candidates": policy.num_candidates,
        "num_diffusion_steps": steps if policy.behavior_kind == "diffusion" else None,
        "seeds": seeds,
        "ensemble": len(seeds) > 1,
        "data": {
            "dataset": data["dataset"],
            "sha256": data["sha256"],
            "num_episodes": data["num_episodes"],
            "num_transitions": spec.get("num_transitions"),
            "reward_rule": spec["reward_rule"],
            "environment": data["env_spec"],
        },
    }


def scores(
    summary: dict[str, Any] | None,
    extraction: str,
    num_candidates: int,
    point: tuple[str, int],
) -> dict[str, Any]:
    """Picks from a run's summary what was measured of this choice at this point.

    `point` is a phase and its step.

    `measured` is None where this choice was not evaluated.
    """
    if summary is None:
        return {"measured": None, "note": "the run was not evaluated"}
    found = next(
        (
            entry
            for entry in summary["methods"]
            if (entry["extraction"], entry["num_candidates"])
            == (extraction, num_candidates)
            and (entry["phase"], entry["step"]) == point
        ),
        None,
    )
    note = f"Measured in float32, each seed on its own. {summary['reference_note']}"
    if found is None:
        note = (
            f"{extraction} with {num_candidates} candidates was not evaluated at "
            f"{point[0]} step {point[1]:,} with these settings: run launch/evaluate.py"
        )
    return {
        "measured": found,
        "data_score": summary["dataset_score"],
        "note": note,
    }
