"""Which action do we take? A choice among N plausible candidates.

One module for everything that acts.
"""

from __future__ import annotations

from typing import NamedTuple

import gin
import tensorflow as tf

from idql_tf.behavior.updates import Behavior
from idql_tf.critic.updates import Critic
from idql_tf.errors import UserError
from idql_tf.nn import randomness

METHODS = ("argmax", "implicit", "softmax")


def check_method(method: str, num_candidates: int) -> None:
    """Refuses an unknown choice or number of candidates.

    Raises:
      UserError: the method is not one of METHODS, or N is below 1.
    """
    if method not in METHODS:
        raise UserError(f"extraction is {method!r}; expected one of {METHODS}")
    if num_candidates < 1:
        raise UserError(f"num_candidates is {num_candidates}; expected at least 1")


class Extraction(NamedTuple):
    """The chosen actions [S, B, A] with their Q [S, B] and the states' V [S, B]."""

    action: tf.Tensor
    q_value: tf.Tensor
    value: tf.Tensor


def weights(
    method: str, q: tf.Tensor, v: tf.Tensor, critic: Critic, temperature: float
) -> tf.Tensor:
    """Probabilities of the candidates, [S, B, N].

    Args:
      method: 'implicit' (weights |f'(u)| / |u|, IDQL eq. 8-12) or 'softmax'
        (exp(temperature * advantage)).
      q: [S, B, N].
      v: [S, B].
      critic: whose objective gives the implicit weights.
      temperature: inverse temperature of the softmax.
    """
    advantage = q - v[..., None]
    if method == "softmax":
        return tf.nn.softmax(temperature * advantage)
    raw = critic.objective.implicit_weight(advantage)
    return raw / tf.reduce_sum(raw, -1, keepdims=True)


def choose(probabilities: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Picks candidates by inverse transform.

    Args:
      probabilities: [S, B, N].
      draws: uniform [S, B] in [0, 1).

    Returns:
      int32 [S, B] in {0, ..., N - 1}.
    """
    cumulative = tf.cumsum(probabilities, axis=-1)
    # Rounding may leave the last sum below one and a draw above it.
    below = cumulative[..., :-1] <= draws[..., None] * cumulative[..., -1:]
    return tf.reduce_sum(tf.cast(below, tf.int32), -1)


@gin.configurable(allowlist=["temperature"])
def extract(
    critic: Critic,
    behavior: Behavior,
    observations: tf.Tensor,
    seeds: tf.Tensor,
    step: tf.Tensor,
    method: str,
    num_candidates: int,
    temperature: float = 1.0,
) -> Extraction:
    """Draws candidates, values them with the target Q and picks one each.

    Args:
      critic: gives the minimum target Q and V.
      behavior: gives the candidates.
      observations: [S, B, D].
      seeds: int64 [S], seeds of this use (not the training seeds).
      step: int64 scalar; the draws are a function of (seeds, step).
      method: one of METHODS.
      num_candidates: N; 1 is the behaviour policy itself.
      temperature: inverse temperature of 'softmax'.

    Returns:
      An `Extraction`.

    Raises:
      UserError: the method is unknown or N below 1.
    """
    check_method(method, num_candidates)
    sample_keys = randomness.keys(seeds, "candidates", step)
    candidates = behavior.sample(observations, num_candidates, sample_keys)
    features = critic.target_q.observation_features(observations)
    q = tf.reduce_min(critic.target_q.from_features(features, candidates), axis=1)
    v = critic.value(observations)
    if method == "argmax":
        index = tf.argmax(q, -1, output_type=tf.int32)
    else:
        batch = tf.shape(observations)[1]
        draws = randomness.uniform(randomness.keys(seeds, "choice", step), [batch])
        index = choose(weights(method, q, v, critic, temperature), draws)
    action = tf.gather(candidates, index, axis=2, batch_dims=2)
    return Extraction(action, tf.gather(q, index, axis=2, batch_dims=2), v)
