"""Environments that a policy acts in to learn from; never those of the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from idql_tf.data import preprocessing
from idql_tf.data.rewards import RewardRule
from idql_tf.data.transitions import DatasetInfo
from idql_tf.environments import factory
from idql_tf.replay.layout import Item

# Observations float32 [S, E, D] and the number of the step -> actions as data store
# them, float32 [S, E, A].
Act = Callable[[np.ndarray, int], np.ndarray]


class Actor:
    """E environments for each of S seeds, stepped together.

    Args:
      info: the dataset's record: environment, key order, action bounds.
      rule: the reward rule of the dataset, applied to every reward.
      seeds: training seeds, S of them.
      num_environments: E.
      number: tells actors apart; with the seeds it decides how episodes start.
      first_step: steps taken by earlier incarnations: episodes start otherwise.
    """

    def __init__(
        self,
        info: DatasetInfo,
        rule: RewardRule,
        seeds: Sequence[int],
        num_environments: int,
        number: int = 0,
        first_step: int = 0,
    ) -> None:
        self._info, self._rule, self._seeds = info, rule, tuple(seeds)
        self._shape = (len(self._seeds), num_environments)
        self._entropy = (number, first_step)
        self._envs = SyncVectorEnv(
            [lambda: factory.make(str(info.env_spec))] * int(np.prod(self._shape)),
            autoreset_mode=AutoresetMode.DISABLED,
        )
        self._steps = first_step
        self._episode = np.zeros(self._shape, np.int64)
        self._returns = np.zeros(self._shape)
        self._lengths = np.zeros(self._shape, np.int64)
        self._observations = self._reset(np.ones(self._shape, bool))

    def step(self, act: Act) -> Item:
        """Takes one step in every environment.

        Returns:
          An item of `replay.tables.signature` without its origin.

        Raises:
          FloatingPointError: the policy gave a non-finite action.
        """
        actions = np.asarray(act(self._observations, self._steps), np.float32)
        if not np.isfinite(actions).all():
            raise FloatingPointError(
                f"the policy gave a non-finite action, step {self._steps}"
            )
        # What the critic learns of is what the dataset would hold of it.
        if not self._info.discrete_actions:
            limit = preprocessing.ACTION_LIMIT
            actions = np.clip(actions, -limit, limit)
        taken = self._info.to_env_action(actions)
        found, rewards, terminated, truncated, _ = self._envs.step(
            taken.reshape(-1, *taken.shape[2:])
        )
        rewards, terminated, truncated = (
            np.reshape(x, self._shape) for x in (rewards, terminated, truncated)
        )
        following = self._flatten(found)
        if not (np.isfinite(following).all() and np.isfinite(rewards).all()):
            raise FloatingPointError(
                "the environment gave a non-finite observation or reward, step "
                f"{self._steps}; nothing of this step was kept; see "
                f"{str(self._info.env_spec):.80}"
            )
        self._steps += 1
        self._returns += rewards
        self._lengths += 1
        ended = terminated | truncated
        item = {
            "observations": self._observations,
            "actions": actions,
            "rewards": self._rule(rewards).astype(np.float32),
            # A time limit is no end: its state still has a value.
            "masks": 1.0 - terminated.astype(np.float32),
            "next_observations": following,
            "returns": np.where(ended, self._returns, 0.0).astype(np.float32),
            "lengths": np.where(ended, self._lengths, 0).astype(np.int32),
        }
        self._observations = self._reset(ended) if ended.any() else following
        # [S, E, ...] -> [E, S, ...], as items are.
        return {name: np.swapaxes(x, 0, 1) for name, x in item.items()}

    def close(self) -> None:
        """Closes the environments."""
        self._envs.close()

    def _reset(self, slots: np.ndarray) -> np.ndarray:
        """Starts a new episode in the slots [S, E]; returns all observations."""
        seeds: list[int | None] = [None] * slots.size
        for s, e in np.argwhere(slots):
            words = (self._seeds[s], *self._entropy, int(e), int(self._episode[s, e]))
            state = np.random.SeedSequence(words).generate_state(1)
            seeds[s * slots.shape[1] + e] = int(state[0])
        found, _ = self._envs.reset(seed=seeds, options={"reset_mask": slots.ravel()})
        self._episode += slots
        self._returns[slots] = 0.0
        self._lengths[slots] = 0
        return self._flatten(found)

    def _flatten(self, found: object) -> np.ndarray:
        flat = preprocessing.flatten_observation(found, self._info.observation_keys)
        # A copy: some environments write every observation into the same array.
        return np.array(flat.reshape(*self._shape, -1))
