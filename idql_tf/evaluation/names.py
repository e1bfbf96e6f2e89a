"""What methods are called, by what the run's configuration made of them."""

from __future__ import annotations

import re

from idql_tf.evaluation.records import Method, RunFiles


def label(run: RunFiles, method: Method) -> str:
    """Name of a method for people, such as 'IDQL (N = 64)'."""
    single = method.num_candidates == 1
    rule = "" if single or method.extraction == "argmax" else f", {method.extraction}"
    return f"{name(run, single)} (N = {method.num_candidates}{rule})"


def name(run: RunFiles, single: bool) -> str:
    """What a run's choice of one candidate, or of several, is.

    With one candidate nothing is chosen: the behaviour model acts, which is behaviour
    cloning (of discrete actions, by the likeliest) unless its losses were weighted by
    advantages.
    """
    model = _bound(run, "IdqlLearner.behavior")
    gaussian, discrete = model == "@GaussianBehavior", model == "@CategoricalBehavior"
    weighted = _bound(run, "IdqlLearner.behavior_weight") not in (None, "None")
    exponential = _bound(run, "Critic.objective") == "@Exponential()"
    filtered = _bound(run, "train.best_fraction") not in (None, "1.0", "1")
    if weighted:
        iql = "EQL" if exponential else "IQL"
        kind = iql if gaussian or discrete else "Weighted diffusion"
        kind += "" if single else ", resampled"
    elif single:
        kind = "Gaussian cloning" if gaussian else "Behaviour cloning"
    else:
        idql = "Discrete IDQL" if discrete else "IDQL"
        kind = "Gaussian cloning, resampled" if gaussian else idql
    return f"{kind}, filtered data" if filtered else kind


def _bound(run: RunFiles, parameter: str) -> str | None:
    """The text that config.gin binds to a parameter."""
    found = re.search(rf"^{re.escape(parameter)} = (.+)$", run.config, re.MULTILINE)
    return found.group(1).strip() if found else None
