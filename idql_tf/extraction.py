"""Which action do we take? A choice among N plausible candidates.

One module for everything that acts: evaluation, the TF-Agents policy, actors and
the exported model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import gin
import numpy as np
import tensorflow as tf

from idql_tf import refinement
from idql_tf.behavior.model import BehaviorModel
from idql_tf.columns import EXTRACTIONS
from idql_tf.critic.updates import Critic
from idql_tf.errors import UserError, check_count, check_number
from idql_tf.nn import fused, randomness

METHODS = EXTRACTIONS
# Observations times candidates times widths are counted in int32 somewhere below.
MOST_CANDIDATES = 100_000


def check_method(method: str, num_candidates: int) -> None:
    """Refuses an unknown choice or number of candidates.

    Raises:
      UserError: the method is not one of METHODS, N is no integer from 1 up, or a
        number that gin binds for 'cem' is out of range.
    """
    if method not in METHODS:
        raise UserError(f"extraction is {method!r}; expected one of {METHODS}")
    check_count("num_candidates", num_candidates, most=MOST_CANDIDATES)
    if method == "cem":
        refinement.Settings()


def check_refinable(method: str, behavior: BehaviorModel) -> None:
    """Refuses 'cem' among discrete actions, all of which are candidates already.

    Raises:
      UserError: so.
    """
    if method == "cem" and behavior.DISCRETE:
        raise UserError(
            "extraction 'cem' refines continuous actions, these are discrete; take "
            "argmax, implicit or softmax"
        )


def check_temperature(temperature: tf.Tensor | float) -> None:
    """Refuses an inverse temperature that is none; a tensor's value is not looked at.

    Raises:
      UserError: it is a Python value, and no finite number from 0 up.
    """
    if tf.is_tensor(temperature):
        return
    if isinstance(temperature, np.ndarray) and temperature.ndim == 0:
        temperature = temperature.item()
    most = float(np.finfo(np.float32).max)
    check_number("the temperature of softmax extraction", temperature, most=most)


@gin.configurable("extract")
def configured_temperature(temperature: float = 1.0) -> float:
    """The inverse temperature of softmax extraction where a call names none."""
    return temperature


class Candidates(NamedTuple):
    """Plausible actions [S, B, N, A], their Q [S, B, N] and the states' V [S, B].

    `prior` [S, B, N] is how likely they are before Q is asked: log weights, -inf for
    what must not be taken. None weighs all alike, as draws do. Of discrete actions all
    are candidates, with their probabilities under the behaviour model.
    """

    actions: tf.Tensor
    q: tf.Tensor
    value: tf.Tensor
    prior: tf.Tensor | None = None


class Extraction(NamedTuple):
    """The chosen actions [S, B, A] with their Q [S, B] and the states' V [S, B].

    `spread` [S, B] is the candidates' distance from their mean: the root of its
    mean square over candidates (weighted by `prior`) and action dimensions, in unit
    actions.
    """

    action: tf.Tensor
    q_value: tf.Tensor
    value: tf.Tensor
    spread: tf.Tensor


def target_values(
    critic: Critic, observations: tf.Tensor, pooled: bool = False
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the function from actions [S, B, N, A] to their minimum target Q [S, B, N].

    Pooled, it takes actions [1, B, N, A] to the mean [1, B, N] over the members.
    """
    features = critic.target_q.observation_features(observations)

    def values(actions: tf.Tensor) -> tf.Tensor:
        if pooled:
            actions = tf.concat([actions] * features.shape[0], axis=0)
        q = tf.reduce_min(critic.target_q.from_features(features, actions), axis=1)
        return tf.reduce_mean(q, 0, keepdims=True) if pooled else q

    return values


def propose(
    critic: Critic,
    behavior: BehaviorModel,
    observations: tf.Tensor,
    noise: tf.Tensor,
    num_candidates: tf.Tensor | int,
    pooled: bool = False,
) -> Candidates:
    """Makes candidates of noise and values them with the minimum target Q.

    Args:
      critic: gives the minimum target Q and V.
      behavior: gives the candidates.
      observations: [S, B, D].
      noise: [S, num_draws, B * N, A] from `behavior.draw_noise`.
      num_candidates: N.
      pooled: make one ensemble of the S members: every member proposes N
        candidates, all members value all of them, and Q and V are the means.

    Returns:
      `Candidates`; pooled, those of a stack of one with S N candidates.
    """
    actions = behavior.denoise(observations, noise, num_candidates)
    prior = behavior.prior(observations, num_candidates)
    if pooled:
        # Every member sees the same S N candidates: [S, B, N, A] -> [1, B, S N, A].
        actions = tf.concat(tf.unstack(actions), axis=1)[None]
    q = target_values(critic, observations, pooled)(actions)
    value = critic.value(observations)
    if pooled:
        value = tf.reduce_mean(value, 0, keepdims=True)
        if prior is not None:
            prior = tf.concat(tf.unstack(prior), axis=-1)[None]
    return Candidates(actions, q, value, prior)


def draw_candidates(
    critic: Critic,
    behavior: BehaviorModel,
    observations: tf.Tensor,
    seeds: tf.Tensor,
    step: tf.Tensor,
    num_candidates: tf.Tensor | int,
    pooled: bool = False,
) -> Candidates:
    """Draws noise as a function of (seeds [S], step) and makes `Candidates` of it."""
    # What acts must run where there is no XLA compiler.
    with fused.without_xla():
        keys = randomness.keys(seeds, "candidates", step)
        batch = tf.shape(observations)[1]
        noise = behavior.draw_noise(batch, num_candidates, keys)
        return propose(critic, behavior, observations, noise, num_candidates, pooled)


def probabilities(
    method: str,
    candidates: Candidates,
    critic: Critic,
    temperature: tf.Tensor | float | None = None,
) -> tf.Tensor:
    """Probabilities of the candidates, [S, B, N].

    Args:
      method: 'implicit' (weights |f'(u)| / |u|, IDQL eq. 8-12) or 'softmax'
        (exp(temperature * advantage)); either times the candidates' prior.
      candidates: with their Q and V.
      critic: whose objective gives the implicit weights, with its present parameter.
      temperature: inverse temperature of the softmax; None takes gin's.

    Raises:
      UserError: see `check_temperature`.
    """
    advantage = candidates.q - candidates.value[..., None]
    prior = 0.0 if candidates.prior is None else candidates.prior
    if method == "softmax":
        inverse = configured_temperature() if temperature is None else temperature
        check_temperature(inverse)
        return tf.nn.softmax(prior + inverse * advantage)
    raw = tf.exp(prior) * critic.implicit_weight(advantage)
    return raw / tf.reduce_sum(raw, -1, keepdims=True)


def best(candidates: Candidates) -> tf.Tensor:
    """Returns which candidate has the largest Q, int32 [S, B]."""
    q = candidates.q
    if candidates.prior is not None:
        q = tf.where(candidates.prior > -np.inf, q, -np.inf)
    return tf.argmax(q, -1, output_type=tf.int32)


def choose(p: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Picks candidates by inverse transform.

    Args:
      p: probabilities [S, B, N].
      draws: uniform [S, B] in [0, 1).

    Returns:
      int32 [S, B] in {0, ..., N - 1}.
    """
    cumulative = tf.cumsum(p, axis=-1)
    # Rounding may leave the last sum below one and a draw above it.
    below = cumulative[..., :-1] <= draws[..., None] * cumulative[..., -1:]
    return tf.reduce_sum(tf.cast(below, tf.int32), -1)


def pick(candidates: Candidates, index: tf.Tensor) -> Extraction:
    """Returns candidate `index` (int32 [S, B]) of each observation."""
    actions = candidates.actions
    square = tf.square(actions - _mean(candidates, actions))
    return Extraction(
        tf.gather(actions, index, axis=2, batch_dims=2),
        tf.gather(candidates.q, index, axis=2, batch_dims=2),
        candidates.value,
        tf.sqrt(tf.reduce_mean(_mean(candidates, square), [2, 3])),
    )


def _mean(candidates: Candidates, x: tf.Tensor) -> tf.Tensor:
    """Mean over candidates, weighted by their prior: [S, B, N, A] to [S, B, 1, A]."""
    if candidates.prior is None:
        return tf.reduce_mean(x, 2, keepdims=True)
    weights = tf.nn.softmax(candidates.prior)[..., None]
    return tf.reduce_sum(weights * x, 2, keepdims=True)


def extract(
    critic: Critic,
    behavior: BehaviorModel,
    observations: tf.Tensor,
    seeds: tf.Tensor,
    step: tf.Tensor,
    method: str,
    num_candidates: tf.Tensor | int,
    temperature: tf.Tensor | float | None = None,
    pooled: bool = False,
) -> Extraction:
    """Draws candidates, values them with the target Q and picks one each.

    Args:
      critic: gives the minimum target Q and V.
      behavior: gives the candidates.
      observations: [S, B, D].
      seeds: int64 [S], seeds of this use (not the training seeds).
      step: int64 scalar; the draws are a function of (seeds, step).
      method: one of METHODS.
      num_candidates: N, at least 1; 1 is the behaviour policy itself, of discrete
        actions its likeliest.
      temperature: inverse temperature of 'softmax'; None takes gin's.
      pooled: one ensemble of the members, see `propose`.

    Returns:
      An `Extraction`; of a stack of one when pooled.

    Raises:
      UserError: the method is unknown or N below 1.
    """
    fixed = 1 if tf.is_tensor(num_candidates) else num_candidates
    check_method(method, fixed)
    check_refinable(method, behavior)
    candidates = draw_candidates(
        critic, behavior, observations, seeds, step, num_candidates, pooled
    )
    if method in ("argmax", "cem"):
        chosen = pick(candidates, best(candidates))
    if method == "argmax":
        return chosen
    if method == "cem":
        refined = _refine(critic, observations, candidates, seeds, step, pooled)
        return chosen._replace(action=refined[0], q_value=refined[1])
    p = probabilities(method, candidates, critic, temperature)
    keys = randomness.keys(seeds[: candidates.q.shape[0]], "choice", step)
    draws = randomness.uniform(keys, [tf.shape(observations)[1]])
    return pick(candidates, choose(p, draws))


def _refine(
    critic: Critic,
    observations: tf.Tensor,
    candidates: Candidates,
    seeds: tf.Tensor,
    step: tf.Tensor,
    pooled: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A better action near the best candidate, [S, B, A], and its Q [S, B]."""
    with fused.without_xla():
        return refinement.refine(
            candidates.actions,
            candidates.q,
            target_values(critic, observations, pooled),
            randomness.keys(seeds[: candidates.q.shape[0]], "refinement", step),
            refinement.Settings(),
        )
