"""A tiny environment whose observations say which episode and step they show."""

import gymnasium
import numpy as np


class CountingEnv(gymnasium.Env):
    """Observation (start, t); odd starts are truncated, even ones terminate.

    The reward is the action, in environment units from -2 to 4. Stepping it
    after the end of an episode is an error.
    """

    steps_taken = 0

    def __init__(self, base_length=3, tells_success=True):
        self.observation_space = gymnasium.spaces.Box(0, np.inf, (2,), np.float64)
        self.action_space = gymnasium.spaces.Box(-2.0, 4.0, (1,), np.float32)
        self._base_length = base_length
        self._tells_success = tells_success
        self._done = True

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._start = int(self.np_random.integers(10_000))
        self._time = 0
        self._done = False
        return self._observe(), {}

    def step(self, action):
        assert not self._done, "stepped after the end of an episode"
        type(self).steps_taken += 1
        self._time += 1
        self._done = self._time == self._base_length + self._start % 4
        terminated = self._done and self._start % 2 == 0
        info = {"success": terminated} if self._tells_success else {}
        truncated = self._done and not terminated
        return self._observe(), float(action[0]), terminated, truncated, info

    def _observe(self):
        return np.array([self._start, self._time], np.float64)


class EndlessEnv(CountingEnv):
    def step(self, action):
        return self._observe(), 0.0, False, False, {}


gymnasium.register("Counting-v0", entry_point=CountingEnv)
gymnasium.register("Endless-v0", entry_point=EndlessEnv)
