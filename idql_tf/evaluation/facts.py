"""What a reader must know about a run: its data, versions and commands.

Nothing here shows a folder of the machine the run was made on.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from idql_tf.evaluation.records import RunFiles, is_online


def public_name(dataset: str | None) -> str:
    """The dataset's name without the folders of this machine's disk."""
    source, _, name = (dataset or "-").partition(":")
    if not re.match(r"[/~\\]|[A-Za-z]:[\\/]", name):
        return dataset or "-"
    return f"{source}:{name.replace(chr(92), '/').rstrip('/').rpartition('/')[2]}"


def task(run: RunFiles) -> str:
    """The environment's id, or the dataset's name where none is recorded."""
    text = _info(run).get("env_spec") or ""
    try:
        return str(json.loads(text)["id"])
    except (KeyError, RecursionError, TypeError, ValueError):
        return text or public_name(_info(run).get("dataset"))


def headline(run: RunFiles, summary: dict[str, Any]) -> str:
    """One line: data, run, seeds, steps."""
    seeds = len(summary["seeds"])
    facts = [public_name(_info(run).get("dataset")), f"run {run.name}"]
    facts.append("1 seed" if seeds == 1 else f"{seeds} seeds")
    if summary["methods"]:
        steps = max(entry["step"] for entry in summary["methods"])
        unit = "environment steps online" if is_online(run) else "critic updates"
        facts.append(f"{steps:,} {unit}")
    return " · ".join(facts)


def provenance(run: RunFiles, summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values: where data, scores and software come from."""
    info, spec = _info(run), run.spec
    episodes, versions = info.get("num_episodes"), spec.get("versions") or {}
    sizes = [spec.get(name, "-") for name in ("observation_size", "action_size")]
    return [
        ("Dataset", public_name(info.get("dataset"))),
        ("Content hash (SHA-256)", str(info.get("sha256") or "-")),
        ("Episodes in the data", f"{episodes:,}" if episodes else "-"),
        ("Evaluated in", task(run)),
        ("Sizes", f"observation {sizes[0]}, action {sizes[1]}"),
        ("Observation keys", ", ".join(info.get("observation_keys") or ()) or "-"),
        ("Reward rule", _rule(spec.get("reward_rule") or {})),
        ("Score reference", summary["reference_note"]),
        ("Seeds", ", ".join(str(seed) for seed in summary["seeds"])),
        ("Versions", ", ".join(f"{k} {v}" for k, v in versions.items()) or "-"),
    ]


def commands(run: RunFiles, summary: dict[str, Any]) -> list[str]:
    """Shell commands that make and report the same again."""
    dataset = shlex.quote(public_name(_info(run).get("dataset")))
    seeds = ",".join(str(seed) for seed in summary["seeds"])
    target = shlex.quote(f"runs/{run.name}")
    env_id = run.spec.get("env_id")
    environment = f"--env_id {shlex.quote(env_id)} " if env_id else ""
    made = (
        f"python launch/train.py --dataset {dataset} --run_dir {target} \\\n"
        f"    {environment}--seeds {seeds} --gin_file config.gin"
    )
    if is_online(run):
        source = _last_part(run.spec["finetuned_from"])
        steps = max((entry["step"] for entry in summary["methods"]), default=0)
        # config.gin, read after the mode's file, decides; the mode named is any.
        made = (
            f"python launch/finetune.py --run_dir {shlex.quote(f'runs/{source}')} "
            f"--mode max \\\n    {environment}--num_env_steps {steps} "
            f"--output_dir {target} --gin_file config.gin"
        )
    evaluated = run.spec.get("evaluated_from")
    subject = target
    if evaluated:
        source = shlex.quote(f"runs/{_last_part(evaluated)}")
        subject = f"{source} --output_dir {target} --gin_file config.gin"
    return [
        *(() if evaluated else (made,)),
        *(
            f"python launch/evaluate.py --run_dir {subject} "
            f"--episodes {entry['episodes_per_seed']} \\\n    --extraction "
            f"{entry['extraction']} --num_candidates {entry['num_candidates']}"
            for entry in summary["methods"]
        ),
        f"python launch/report.py --run_dir {target} --output report.html",
    ]


def specification(run: RunFiles) -> str:
    """spec.json as text, the dataset by its public name."""
    name = public_name(_info(run).get("dataset"))
    spec = run.spec | {"dataset": _info(run) | {"dataset": name}}
    spec.pop("dataset_returns", None)
    for name in ("finetuned_from", "evaluated_from"):
        if spec.get(name):
            spec[name] = _last_part(spec[name])
    return json.dumps(spec, indent=2, ensure_ascii=False)


def _last_part(path: str) -> str:
    """The name of a run, without where it lay on its machine."""
    return path.rstrip("/").rpartition("/")[2]


def _info(run: RunFiles) -> dict[str, Any]:
    return run.spec.get("dataset") or {}


def _rule(rule: dict[str, Any]) -> str:
    if not rule:
        return "-"
    return (
        f"{rule.get('name', '-')}: reward × {rule.get('scale', 1):g} "
        f"+ {rule.get('offset', 0):g} for training"
    )
