import subprocess
import sys
from collections import OrderedDict

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from paths import REPOSITORY
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.environments.tf_py_environment import TFPyEnvironment
from tf_agents.environments.utils import validate_py_environment
from tf_agents.policies.random_tf_policy import RandomTFPolicy
from tf_agents.trajectories.time_step import StepType

from idql_tf.environments import factory
from idql_tf.environments.py_environment import GymnasiumEnvironment, load, load_batch
from idql_tf.errors import UserError

FIRST, MID, LAST = StepType.FIRST, StepType.MID, StepType.LAST
ACTION = np.array([1.0, 0.2], np.float32)


class ThreeSteps(gymnasium.Env):
    """Shows (start, t) in one array for all steps, rewards 10 t, ends at t = 3."""

    observation_space = spaces.Box(0.0, np.array([1.0, 3.0]), dtype=np.float64)
    action_space = spaces.Box(np.array([-2, 0.1]), np.array([4, 0.3]), dtype=np.float64)

    def __init__(self, terminates=False, truncates=False, render_mode=None):
        self._ends = terminates, truncates
        self.render_mode = render_mode
        self.actions, self.reset_seeds, self._shown = [], [], np.zeros(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.reset_seeds.append(seed)
        self._shown[:] = self.np_random.random(), 0
        return self._shown, {"fresh": True}

    def step(self, action):
        assert self._shown[1] < 3, "stepped after the end of an episode"
        self.actions.append(action)
        self._shown[1] += 1
        time = int(self._shown[1])
        terminated, truncated = ((time == 3) and end for end in self._ends)
        return self._shown, np.float64(10 * time), terminated, truncated, {"t": time}

    def render(self):
        return np.full((2, 2, 3), 7, np.uint8)

    def close(self):
        self.closed = True


gymnasium.register("ThreeSteps-v0", entry_point=lambda: ThreeSteps(truncates=True))


class Echo(gymnasium.Env):
    """Observes the last action; ends after 3 steps."""

    def __init__(self, space):
        self.observation_space = self.action_space = space

    def reset(self, *, seed=None, options=None):
        self._time = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self._time += 1
        return action, 0.0, self._time == 3, False, {}


@pytest.mark.parametrize(
    ("terminates", "truncates", "last_discount"),
    [(True, False, 0.0), (False, True, 0.9), (True, True, 0.0)],
)
def test_ends_of_episodes(terminates, truncates, last_discount):
    env = GymnasiumEnvironment(ThreeSteps(terminates, truncates), discount=0.9, seed=1)
    steps = [env.reset()] + [env.step(ACTION) for _ in range(8)]
    types, rewards, discounts, observations = zip(*steps, strict=True)
    assert [int(t) for t in types] == [FIRST, MID, MID, LAST] * 2 + [FIRST]
    assert [float(r) for r in rewards] == [0, 10, 20, 30] * 2 + [0]
    expected = [1, 0.9, 0.9, last_discount] * 2 + [1]
    np.testing.assert_array_equal(discounts, np.float32(expected))
    # The LAST observation is the one the episode ended in, in an array of its own.
    assert [o[1] for o in observations] == [0, 1, 2, 3] * 2 + [0]
    starts = [o[0] for o in observations]
    assert starts[0] == starts[3] and starts[4] == starts[7]
    assert len({starts[0], starts[4], starts[8]}) == 3
    assert {o.dtype for o in observations} == {np.dtype(np.float32)}
    assert {r.dtype for r in rewards + discounts} == {np.dtype(np.float32)}
    assert len(env.gymnasium_env.actions) == 6, "the actions after LAST are ignored"


def test_seed_is_used_by_the_next_reset_alone():
    env = GymnasiumEnvironment(ThreeSteps(truncates=True), seed=3)
    starts = [env.reset().observation[0] for _ in range(2)]
    env.seed(np.int64(3))
    starts += [env.reset().observation[0] for _ in range(2)]
    assert starts[:2] == starts[2:] and starts[0] != starts[1]
    env.seed(4)
    env.seed(None)
    env.reset()
    assert env.gymnasium_env.reset_seeds == [3, None, 3, None, None]


def test_actions_are_clipped_to_asymmetric_bounds():
    env = GymnasiumEnvironment(ThreeSteps())
    spec = env.action_spec()
    assert spec.shape == (2,) and spec.dtype == np.float32
    np.testing.assert_array_equal(spec.minimum, np.float32([-2.0, 0.1]))
    np.testing.assert_array_equal(spec.maximum, np.float32([4.0, 0.3]))
    env.reset()
    for action in np.float32([[-9, 9], [9, -9], spec.maximum]):
        env.step(action)
    seen = env.gymnasium_env.actions
    np.testing.assert_array_equal(seen, [[-2.0, 0.3], [4.0, 0.1], [4.0, 0.3]])
    # float32(0.3) is above 0.3: the environment's own check must still hold.
    assert all(env.gymnasium_env.action_space.contains(action) for action in seen)


@pytest.mark.parametrize("action", [[np.nan, 0.2], [1.0, np.inf], [[1.0, 0.2]], 1.0])
def test_actions_that_are_none_are_refused(action):
    env = GymnasiumEnvironment(ThreeSteps())
    env.reset()
    with pytest.raises(ValueError, match=r"found .*; expected finite .*\(2,\); check"):
        env.step(np.array(action, np.float32))
    assert not env.gymnasium_env.actions


NESTED = spaces.Dict(
    OrderedDict(
        z=spaces.Box(-np.inf, 0.1, (2,), np.float64),
        a=spaces.Tuple([spaces.Discrete(3, start=-1), spaces.MultiDiscrete([2, 5])]),
        m=spaces.Dict(b=spaces.MultiBinary(3), i=spaces.Box(0, 255, (2, 2), np.uint8)),
    )
)


def test_nested_spaces():
    env = GymnasiumEnvironment(Echo(NESTED))
    spec = env.observation_spec()
    assert type(spec) is dict and list(spec) == ["z", "a", "m"]
    assert spec["z"].dtype == spec["z"].maximum.dtype == np.float32
    discrete, multi = spec["a"]
    assert (discrete.dtype, discrete.minimum, discrete.maximum) == (np.int64, -1, 1)
    assert (multi.dtype, multi.maximum.tolist()) == (np.int64, [1, 4])
    assert (spec["m"]["i"].dtype, spec["m"]["i"].maximum.max()) == (np.uint8, 255)
    assert discrete.name == "observation/a/0"
    assert list(env.reset().observation) == ["z", "a", "m"]
    validate_py_environment(env, episodes=3)
    huge = GymnasiumEnvironment(Echo(spaces.Box(-1, 1e300, dtype=float))).action_spec()
    assert huge.maximum == np.finfo(np.float32).max
    env.reset()
    action = NESTED.sample() | {"a": (np.array(1), np.array([1, 4]))}
    seen = env.step(action).observation
    assert not np.shares_memory(seen["a"][1], action["a"][1])
    action["a"] = (np.array(2), np.array([1, 4]))
    with pytest.raises(ValueError, match="found action 2; expected one of Discrete"):
        env.step(action)


def test_discrete_actions_serve_as_keys():
    validate_py_environment(load("FrozenLake-v1", seed=0), episodes=2)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: GymnasiumEnvironment(ThreeSteps(), discount=1.1), "from 0 to 1"),
        (lambda: GymnasiumEnvironment(Echo(spaces.Text(3))), "observation space is Te"),
        (lambda: load("Hoper-v4"), "did you mean Hopper-v4"),
        (lambda: load_batch("Hopper-v4", 0), "num_environments is 0"),
    ],
)
def test_what_cannot_be_used_is_said(make, expected):
    with pytest.raises(UserError, match=expected):
        make()


def test_info_rendering_and_closing():
    env = GymnasiumEnvironment(ThreeSteps(truncates=True, render_mode="rgb_array"))
    env.reset()
    assert env.get_info() == {"fresh": True}
    env.step(ACTION)
    assert env.get_info() == {"t": 1}
    assert env.render().shape == (2, 2, 3)
    with pytest.raises(NotImplementedError, match="'rgb_array'; expected 'human'"):
        env.render("human")
    env.close()
    assert env.gymnasium_env.closed


@pytest.mark.parametrize(
    ("env_id", "steps"),
    [("PointMaze_UMaze-v3", 300), ("AntMaze_UMaze-v5", 700)]
    + [("Hopper-v4", 1000), ("AdroitHandDoor-v1", 200)],
)
def test_real_tasks_follow_their_specs(env_id, steps):
    with load(env_id) as env:
        limit = env.gymnasium_env
        assert isinstance(limit, TimeLimit) and limit.env is limit.unwrapped
        assert limit.spec.max_episode_steps == steps
    env = GymnasiumEnvironment(TimeLimit(factory.make(env_id), 20), seed=0)
    validate_py_environment(env, episodes=2)
    env.close()


def test_time_limit_of_a_real_task_truncates_at_its_final_observation():
    env = load("PointMaze_UMaze-v3", seed=5)
    raw = factory.make("PointMaze_UMaze-v3")
    observation, _ = raw.reset(seed=5)
    step, truncated = env.reset(), False
    while not step.is_last():
        step = env.step(ACTION)
        observation, _, _, truncated, _ = raw.step(ACTION)
    assert truncated and step.discount == 1.0
    for key, values in observation.items():
        np.testing.assert_array_equal(step.observation[key], np.float32(values))
    assert env.step(ACTION).is_first()


def test_load_takes_a_module_and_a_recorded_spec(tmp_path, monkeypatch):
    path = "gymnasium.envs.classic_control.pendulum:PendulumEnv"
    (tmp_path / "somebodys_steps.py").write_text(
        f"import gymnasium\ngymnasium.register('Steps-v0', entry_point={path!r})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert load("somebodys_steps:Steps-v0").action_spec().maximum == 2.0
    env = load('{"id": "Pendulum-v1", "max_episode_steps": 7}')
    assert env.gymnasium_env.spec.max_episode_steps == 7


def test_batch_starts_differ_and_can_be_repeated():
    def starts(seed, count=4):
        return load_batch("ThreeSteps-v0", count, seed=seed).reset().observation[:, 0]

    assert len(set(starts(0))) == 4
    np.testing.assert_array_equal(starts(0), starts(0))
    np.testing.assert_array_equal(starts(0, 1), starts(0)[:1])
    assert not set(starts(0)) & set(starts(1))
    assert not set(starts(None)) & set(starts(None))


def test_a_batch_follows_its_specs_and_serves_a_driver():
    env = load_batch("PointMaze_UMaze-v3", 2, discount=0.9, seed=0)
    assert env.reset().observation["achieved_goal"].shape == (2, 2)
    validate_py_environment(env, episodes=2)
    last_step = env.current_time_step()
    assert last_step.is_last().all() and (last_step.discount == np.float32(0.9)).all()
    env.close()

    py_env = load_batch("ThreeSteps-v0", 2, seed=0)
    tf_env = TFPyEnvironment(py_env)
    assert tf_env.observation_spec().dtype == np.float32
    policy = RandomTFPolicy(tf_env.time_step_spec(), tf_env.action_spec())
    last_step, _ = DynamicEpisodeDriver(tf_env, policy, [], num_episodes=4).run()
    # Two episodes of 3 steps each; the driver ends by one more step, the reset.
    assert [len(one.gymnasium_env.unwrapped.actions) for one in py_env.envs] == [6, 6]
    assert last_step.step_type.numpy().tolist() == [FIRST, FIRST]


def test_import_is_quiet_and_the_room_needs_no_tensorflow():
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "import idql_tf.environments, idql_tf.environments.collect\n"
        "assert 'tensorflow' not in sys.modules\n"
        "from idql_tf import quiet\n"
        "quiet.import_quietly()\n"
        "from idql_tf.environments.py_environment import load\n"
        "load('Hopper-v4').reset()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
