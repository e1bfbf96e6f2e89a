"""Compares an exported model with the policy it was made of."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from idql_tf.export import tflite
from idql_tf.policies import IdqlPolicy

_TOLERANCE = 1e-5  # of the action range, and of Q where two candidates tie; float32
# Of Q of refined actions: rounding also decides who is among the elites, and so what
# is drawn next (refinement.py).
_REFINED_TOLERANCE = 1e-3
_SEED = 20_230_420
Numbers = dict[str, float]


class ParityError(RuntimeError):
    """The exported model does not act as the policy does."""


def observations(
    statistics: dict[str, Any] | None, size: int, count: int
) -> np.ndarray:
    """Draws float32 [count, D] around the data's mean, within the data's range.

    Args:
      statistics: `Transitions.observation_statistics`; None gives standard normal.
      size: D.
      count: how many.
    """
    draws = np.random.default_rng(_SEED).normal(size=(count, size))
    if statistics:
        draws = draws * statistics["stddev"] + statistics["mean"]
        draws = np.clip(draws, statistics["minimum"], statistics["maximum"])
    return draws.astype(np.float32)


def of_saved_model(
    policy: IdqlPolicy, directory: pathlib.Path, inputs: np.ndarray
) -> Numbers:
    """Loads the SavedModel and compares its seeded actions, batch by batch.

    Batches are the first input, the first 7, and all of the at least 7. Of candidates
    whose Q are equal within rounding either may be taken: `ties` counts the choices
    that differ so.

    Raises:
      ParityError: an action, or the spread of the candidates, differs by more than
        rounding, or the unseeded signature gives an action that is not within the
        bounds.
    """
    model = tf.saved_model.load(str(directory))
    sample, serve = (model.signatures[s] for s in ("sample", "serving_default"))
    drawn = serve(observation=tf.constant(inputs))["action"].numpy()
    if not ((policy.spaces.low <= drawn) & (drawn <= policy.spaces.high)).all():
        raise ParityError("serving_default gave an action outside the action space")
    worst, ties = 0.0, 0
    for batch in (1, 7, len(inputs)):
        rows = tf.constant(inputs[:batch])
        theirs = sample(
            observation=rows,
            num_candidates=tf.constant(0),
            temperature=tf.constant(0.0),
            seed=tf.constant(batch, tf.int64),
        )
        ours = policy.select(rows, seed=batch)
        differences = _differences(policy, ours.action, theirs["action"])
        tied = np.zeros(batch, bool)
        close = {"argmax": _TOLERANCE, "cem": _REFINED_TOLERANCE}.get(policy.extraction)
        if close is not None:
            near = np.isclose(ours.q_value, theirs["q_value"], rtol=close, atol=close)
            tied = near & (differences > _TOLERANCE)
        ties += int(tied.sum())
        spread = np.abs(ours.spread - theirs["action_spread"])
        # NaN if any is.
        worst = np.max([worst, *differences[~tied], *spread])
    if not worst <= _TOLERANCE:
        raise ParityError(
            f"the SavedModel's actions differ from the policy's by {worst:.2g} of the "
            f"action range; expected at most {_TOLERANCE:g}"
        )
    return {"largest_action_difference": float(worst), "ties": ties}


def of_precision(
    reference: IdqlPolicy, rounded: IdqlPolicy, inputs: np.ndarray
) -> Numbers:
    """Compares the policy with one of lower precision on the same draws."""
    rows = tf.constant(inputs)
    ours, theirs = (p.select(rows, seed=_SEED) for p in (reference, rounded))
    return _compare(reference, rows, ours.action, theirs.action)


def of_tflite(policy: IdqlPolicy, model: bytes, inputs: np.ndarray) -> Numbers:
    """Runs a TFLite model on given noise and compares it with the policy."""
    interpreter = tf.lite.Interpreter(model_content=model)
    drawn = tflite.draws(policy)
    run = interpreter.get_signature_runner("with_noise" if drawn else "serving_default")
    rng = np.random.default_rng(_SEED)
    best_of = tf.function(policy.best_of, autograph=False)
    ours, theirs = [], []
    for row in inputs:
        noise = rng.normal(size=policy.noise_shape).astype(np.float32)
        ours.append(best_of(tf.constant(row[None]), tf.constant(noise)).action)
        given = {"noise": noise} if drawn else {}
        theirs.append(run(observation=row[None], **given)["action"])
    rows = tf.constant(inputs)
    return _compare(policy, rows, tf.concat(ours, 0), tf.concat(theirs, 0))


def _compare(
    policy: IdqlPolicy, rows: tf.Tensor, ours: tf.Tensor, theirs: tf.Tensor
) -> Numbers:
    """How far two choices lie apart, in actions and in what they are worth.

    `lost_gain` is the part of the choice's worth, Q of the best of N above Q of one
    candidate, that is lost by choosing theirs; absent where the choice is worth
    nothing, as with one candidate.

    Raises:
      ParityError: theirs are not all finite.
    """
    differences = _differences(policy, ours, theirs)
    if not np.isfinite(differences).all():
        raise ParityError("the converted model gave actions that are not finite")
    single = policy.select(rows, _SEED, tf.constant(1), tf.constant(0.0)).action
    best, other, base = (policy.q_value(rows, a) for a in (ours, theirs, single))
    gain = float(tf.reduce_mean(best - base))
    found = {
        "observations": len(differences),
        "median_action_difference": float(np.median(differences)),
        "largest_action_difference": float(differences.max()),
    }
    if gain > 0.0:
        found["lost_gain"] = float(tf.reduce_mean(best - other)) / gain
    return found


def _differences(policy: IdqlPolicy, ours: tf.Tensor, theirs: tf.Tensor) -> np.ndarray:
    """Largest difference of each row [B], as a part of the action range."""
    width = policy.spaces.high - policy.spaces.low
    apart = (np.asarray(ours) - np.asarray(theirs)).reshape(-1, len(width))
    return np.abs(apart / width).max(-1)
