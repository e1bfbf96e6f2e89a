"""IDQL as a TF-Agents policy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tf_agents.policies import tf_policy
from tf_agents.trajectories import policy_step
from tf_agents.trajectories import time_step as ts
from tf_agents.typing import types

from idql_tf import extraction as choice
from idql_tf.behavior.model import BehaviorModel
from idql_tf.critic.updates import Critic
from idql_tf.extraction import Extraction
from idql_tf.nn import dense, fused
from idql_tf.policies import checks
from idql_tf.policies.spaces import Spaces
from idql_tf.policies.weighted_points import WeightedPoints

_STEP_MASK = 2**40 - 1  # of idql_tf.nn.randomness

Extract = Callable[[tf.Tensor, tf.Tensor], Extraction]


class PolicyInfo(NamedTuple):
    """What `emit_info` adds to every policy step, float32 [B] each.

    Attributes:
      q_value: minimum target Q of the action, in the critic's (scaled) rewards.
      value: V of the observation.
      action_spread: how far the candidates lie from their mean (root mean square
        over candidates and dimensions, actions scaled to [-1, 1]).
    """

    q_value: types.NestedTensorOrArray
    value: types.NestedTensorOrArray
    action_spread: types.NestedTensorOrArray


class IdqlPolicy(tf_policy.TFPolicy):
    """Takes one of N candidates of a behaviour model, by a critic's values.

    `action(time_step, seed=...)` is a function of its arguments: `seed` is an
    integer, or a pair (seed, step). Without one every call draws afresh, from
    TensorFlow's global generator (`tf.random.set_seed`).

    Args:
      time_step_spec: the environment's; observations a TensorSpec or a dict.
      action_spec: a bounded float vector [A]; actions are given in its units. Or one
        bounded integer, the number of a discrete action: A is how many there are.
      critic: of one seed, or of S with `pooled`.
      behavior: of the same seeds.
      num_candidates: N.
      extraction: 'argmax' of Q, 'implicit' (IDQL eq. 8-12), 'softmax', or 'cem'
        (argmax, then refined near by: `idql_tf.refinement`).
      temperature: inverse temperature of 'softmax'; None takes gin's.
      observation_keys: order in which dict observations are flattened; None takes
        that of `idql_tf.data`.
      pooled: act as one ensemble: every seed proposes N candidates, all seeds value
        all of them.
      emit_info: fill `info` with a `PolicyInfo`.
      safe_action: [A] in environment units ([1] of discrete actions), taken where an
        observation is not finite; None raises InvalidArgumentError there.
      xla: compile with XLA; None does on a GPU.
      name: of the module.

    Attributes:
      spaces: maps between the specs and the networks.
      extraction: as given.
      num_candidates: N.
      safe_action: as given, float32 [A] ([] of discrete actions) or None.
      extract: the compiled choice, unchecked: observation float32 [B, D] and words
        int64 [2] (seed and step) to an `Extraction` with axes [B, ...].

    Raises:
      UserError: specs, critic and behaviour model do not fit, or a setting is
        unknown.
    """

    def __init__(
        self,
        time_step_spec: ts.TimeStep,
        action_spec: types.NestedTensorSpec,
        critic: Critic,
        behavior: BehaviorModel,
        num_candidates: int,
        extraction: str = "argmax",
        temperature: float | None = None,
        observation_keys: Sequence[str] | None = None,
        pooled: bool = False,
        emit_info: bool = False,
        safe_action: Sequence[float] | None = None,
        xla: bool | None = None,
        name: str = "IdqlPolicy",
    ) -> None:
        choice.check_method(extraction, num_candidates)
        if extraction == "softmax":
            given = (
                choice.configured_temperature() if temperature is None else temperature
            )
            choice.check_temperature(given)
        self.spaces = Spaces(time_step_spec.observation, action_spec, observation_keys)
        checks.check_sizes(self.spaces, critic, behavior, pooled)
        choice.check_refinable(extraction, behavior)
        self.extraction, self.num_candidates = extraction, num_candidates
        self._temperature, self._pooled = temperature, pooled
        self.safe_action = checks.safe_action(
            safe_action, self.spaces.low, self.spaces.high, self.spaces.discrete
        )
        scalar = tf.TensorSpec([], tf.float32)
        super().__init__(
            time_step_spec,
            action_spec,
            info_spec=PolicyInfo(scalar, scalar, scalar) if emit_info else (),
            name=name,
        )
        # What acts, and no more: the rest of critic and behaviour model (optimizer
        # slots, trained networks) hides in a closure from checkpoints and exports.
        self._networks = lambda: (critic, behavior)
        self._weights = [
            *critic.acting_variables,
            *behavior.average.variables,
        ]
        signature = (
            tf.TensorSpec([None, self.spaces.observation_size], tf.float32),
            tf.TensorSpec([2], tf.int64),
        )
        self.extract = dense.compiled(self._extract, xla, signature)

    def select(
        self,
        observation: tf.Tensor,
        seed: types.Seed | None = None,
        num_candidates: tf.Tensor | None = None,
        temperature: tf.Tensor | None = None,
        extract: Extract | None = None,
    ) -> Extraction:
        """Chooses actions for flat observations.

        Args:
          observation: [B, D].
          seed: see the class.
          num_candidates: int32 scalar; None or 0 take the policy's.
          temperature: float32 scalar; above 0 it chooses by softmax with this
            inverse temperature, None and 0 choose as the policy does.
          extract: used instead of `extract` where neither option is given, or both 0.

        Returns:
          The `Extraction` with axes [B, ...] and actions in environment units.
        """
        observation = tf.cast(observation, tf.float32)
        self._check(observation)
        words = checks.seed_words(seed)
        plain = functools.partial(extract or self.extract, observation, words)
        if num_candidates is None and temperature is None:
            found = plain()
        else:
            num = tf.constant(0) if num_candidates is None else num_candidates
            inverse = tf.constant(0.0) if temperature is None else temperature
            found = tf.cond(
                tf.equal(num, 0) & tf.equal(inverse, 0.0),
                plain,
                lambda: self._with_options(observation, words, num, inverse),
            )
        return self._made_safe(observation, found)

    def best_of(self, observation: tf.Tensor, noise: tf.Tensor) -> Extraction:
        """Takes the best candidate that given noise becomes, unchecked.

        Args:
          observation: float32 [B, D].
          noise: standard normal [S, num_draws, B * N, A]; S is 1 unless pooled.

        Returns:
          As `select` with extraction 'argmax'.
        """
        members = noise.shape[0]
        with fused.without_xla():
            drawn = choice.propose(
                *self._networks(),
                tf.stack([observation] * members),
                noise,
                self.num_candidates,
                self._pooled,
            )
        return self._in_environment(choice.pick(drawn, choice.best(drawn)))

    def q_value(self, observation: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
        """Minimum target Q [B] of actions [B, A] ([B] if discrete) at [B, D].

        Of an ensemble, the mean over its members.
        """
        critic, behavior = self._networks()
        members = len(behavior.seeds)
        observations = tf.stack([tf.cast(observation, tf.float32)] * members)
        actions = tf.stack([self.spaces.to_unit_action(action)] * members)
        with fused.without_xla():
            q = tf.reduce_min(critic.target_q(observations, actions), axis=1)
        return tf.reduce_mean(q, 0)

    @property
    def behavior_kind(self) -> str:
        """What its behaviour model is: 'diffusion', 'Gaussian' or 'categorical'."""
        return self._networks()[1].KIND

    @property
    def noise_shape(self) -> tuple[int, int, int, int]:
        """The shape [S, num_draws, N, A] of `best_of`'s noise for one observation."""
        behavior = self._networks()[1]
        steps = behavior.num_draws
        members = len(behavior.seeds)
        return members, steps, self.num_candidates, self.spaces.action_size

    def _check(self, observation: tf.Tensor) -> None:
        """Fails where an observation is not finite, unless there is a safe action."""
        if self.safe_action is not None:
            return
        finite = checks.finite_rows(observation)
        bad = tf.where(~finite)[:1, 0]
        tf.debugging.Assert(
            tf.reduce_all(finite),
            ["observation is not finite in row", bad, "of the batch"],
        )

    def _made_safe(self, observation: tf.Tensor, found: Extraction) -> Extraction:
        """Puts `safe_action` where an observation is not finite."""
        if self.safe_action is None:
            return found
        finite = checks.finite_rows(observation)
        unknown = tf.where(finite, 0.0, np.nan)
        return Extraction(
            checks.where_rows(finite, found.action, self.safe_action),
            *(x + unknown for x in found[1:]),
        )

    def _in_environment(self, found: Extraction) -> Extraction:
        """Drops the axis of the stack and scales the actions."""
        found = Extraction(*(x[0] for x in found))
        return found._replace(action=self.spaces.to_env_action(found.action))

    def _extract(
        self,
        observation: tf.Tensor,
        words: tf.Tensor,
        num_candidates: tf.Tensor | int | None = None,
        method: str | None = None,
        temperature: tf.Tensor | float | None = None,
    ) -> Extraction:
        """`select` without its checks: [B, D] and a pair of words to [B, ...]."""
        found = choice.extract(
            *self._networks(),
            *self._stacked(observation, words),
            method or self.extraction,
            self.num_candidates if num_candidates is None else num_candidates,
            self._temperature if temperature is None else temperature,
            self._pooled,
        )
        return self._in_environment(found)

    def _with_options(
        self,
        observation: tf.Tensor,
        words: tf.Tensor,
        num_candidates: tf.Tensor,
        temperature: tf.Tensor,
    ) -> Extraction:
        tf.debugging.Assert(
            (num_candidates >= 0) & (temperature >= 0.0) & (temperature < np.inf),
            ["expected num_candidates >= 0 and finite temperature >= 0, found"]
            + [num_candidates, temperature],
        )
        num = tf.where(num_candidates > 0, num_candidates, self.num_candidates)
        return tf.cond(
            temperature > 0.0,
            lambda: self._extract(observation, words, num, "softmax", temperature),
            lambda: self._extract(observation, words, num),
        )

    def _stacked(
        self, observation: tf.Tensor, words: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Observations [S, B, D], seeds [S] and step of a stack of S members."""
        members = len(self._networks()[1].seeds)
        seeds = words[0] * members + tf.range(members, dtype=tf.int64)
        observations = tf.stack([observation] * members)
        return observations, seeds, tf.bitwise.bitwise_and(words[1], _STEP_MASK)

    def _action(
        self,
        time_step: ts.TimeStep,
        policy_state: types.NestedTensor,
        seed: types.Seed | None,
    ) -> policy_step.PolicyStep:
        observation = self.spaces.flatten(time_step.observation)
        found = self.select(observation, seed)
        info = PolicyInfo(*found[1:]) if self.info_spec else ()
        action = tf.cast(found.action, self.action_spec.dtype)
        return policy_step.PolicyStep(action, policy_state, info)

    def _distribution(
        self, time_step: ts.TimeStep, policy_state: types.NestedTensor
    ) -> policy_step.PolicyStep:
        """What is chosen among the candidates drawn in this call.

        With argmax and 'cem' that is one point, else the weighted candidates. Over the
        draws of candidates neither has a density that can be written down.

        Raises:
          NotImplementedError: with `emit_info`.
        """
        if self.info_spec:
            raise NotImplementedError(
                "info tells about one chosen action, which a distribution has not; "
                "call action(), or leave emit_info out"
            )
        observation = self.spaces.flatten(time_step.observation)
        if self.extraction in ("argmax", "cem"):
            chosen = self.select(observation).action[:, None]
            point = WeightedPoints(chosen, tf.ones(tf.shape(chosen)[:2]))
            return policy_step.PolicyStep(point, policy_state, ())
        self._check(observation)
        critic, behavior = self._networks()
        drawn = choice.draw_candidates(
            critic,
            behavior,
            *self._stacked(observation, checks.seed_words(None)),
            self.num_candidates,
            self._pooled,
        )
        probabilities = choice.probabilities(
            self.extraction, drawn, critic, self._temperature
        )[0]
        points = self.spaces.to_env_action(drawn.actions[0])
        if self.safe_action is not None:
            finite = checks.finite_rows(observation)
            points = checks.where_rows(finite, points, self.safe_action)
            alike = 1.0 / points.shape[1]
            probabilities = checks.where_rows(finite, probabilities, alike)
        distribution = WeightedPoints(points, probabilities)
        return policy_step.PolicyStep(distribution, policy_state, ())
