"""What an `IdqlPolicy` checks of its arguments and observations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tf_agents.typing import types

from idql_tf.behavior.model import BehaviorModel
from idql_tf.critic.updates import Critic
from idql_tf.errors import UserError
from idql_tf.policies.spaces import Spaces

_LARGEST = 1e30


def finite_rows(observation: tf.Tensor) -> tf.Tensor:
    """Tells which rows of [B, D] are finite and below 1e30, bool [B].

    Larger numbers overflow within the networks. Only ops that TFLite has.
    """
    return tf.reduce_all(tf.abs(observation) <= _LARGEST, -1)


def seed_words(seed: types.Seed | None) -> tf.Tensor:
    """Returns int64 [2]: (seed, step) of an integer, a pair, or a fresh draw.

    Raises:
      UserError: the seed is something else.
    """
    if seed is None:
        # One graph for every call: the draw itself is part of it.
        return tf.random.uniform(
            [2], tf.int64.min, tf.int64.max, dtype=tf.int64, name="fresh_seed"
        )
    try:
        given = tf.convert_to_tensor(seed)
        fits = given.dtype.is_integer and given.shape.num_elements() in (None, 1, 2)
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise UserError(f"seed is {seed!r}; expected an integer or a pair of them")
    words = tf.reshape(tf.cast(given, tf.int64), [-1])
    return tf.concat([words, tf.zeros([2 - tf.size(words)], tf.int64)], 0)


def where_rows(chosen: tf.Tensor, x: tf.Tensor, other: npt.ArrayLike) -> tf.Tensor:
    """Takes rows of x [B, ...] where `chosen` (bool [B]), and `other` elsewhere."""
    chosen = tf.reshape(chosen, [-1, *[1] * (x.shape.rank - 1)])
    return tf.where(chosen, x, tf.cast(other, x.dtype))


def safe_action(
    action: Sequence[float] | None,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    discrete: bool = False,
) -> np.ndarray | None:
    """Reads an action [A] within bounds [A]; None stays None.

    A discrete action is given as [1] and becomes [].

    Raises:
      UserError: it is none.
    """
    if action is None:
        return None
    low, high = np.asarray(low), np.asarray(high)
    try:
        safe = np.asarray(action, np.float32)
    except (TypeError, ValueError):
        safe = np.array(np.nan, np.float32)
    fits = safe.shape == low.shape and ((low <= safe) & (safe <= high)).all()
    if not fits or (discrete and safe[0] != np.rint(safe[0])):
        kind = "whole numbers" if discrete else "numbers"
        raise UserError(
            f"safe_action is {action}; expected {low.size} {kind} within {low} and "
            f"{high}"
        )
    return safe[0] if discrete else safe


def check_sizes(
    spaces: Spaces, critic: Critic, behavior: BehaviorModel, pooled: bool
) -> None:
    """Refuses networks that do not take what the specs give.

    Raises:
      UserError: sizes or kinds of actions differ, or there are several seeds and no
        `pooled`.
    """
    found = (spaces.observation_size, spaces.action_size)
    expected = (critic.observation_size, behavior.action_size)
    if found != expected:
        raise UserError(
            f"the specs have observations of {found[0]} and actions of {found[1]} "
            f"numbers; the networks take {expected[0]} and {expected[1]}"
        )
    if spaces.discrete != behavior.DISCRETE:
        kind = "discrete" if spaces.discrete else "continuous"
        raise UserError(
            f"the action spec is {kind}, the behaviour model {behavior.KIND}; expected "
            f"a model of {kind} actions (IdqlLearner.behavior)"
        )
    members = len(behavior.seeds)
    if members > 1 and not pooled:
        raise UserError(
            f"the critic and behaviour model are a stack of {members} seeds; expected "
            "one (training.learner.take_member), or pooled=True"
        )
