import subprocess
import sys

import numpy as np
import tensorflow as tf
from gymnasium.wrappers import TimeLimit
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.drivers.py_driver import PyDriver
from tf_agents.environments.tf_py_environment import TFPyEnvironment
from tf_agents.policies.policy_saver import PolicySaver
from tf_agents.policies.py_tf_eager_policy import PyTFEagerPolicy
from tiny_policies import (
    HIGH,
    LOW,
    OBSERVATIONS,
    STEP,
    N,
    make_networks,
    make_observations,
    make_policy,
)

from idql_tf.environments import factory
from idql_tf.environments.py_environment import GymnasiumEnvironment
from idql_tf.policies import IdqlPolicy, PolicyInfo


def _drive(env_id, steps, n=N):
    env = GymnasiumEnvironment(TimeLimit(factory.make(env_id).unwrapped, steps), seed=0)
    tf_env = TFPyEnvironment(env)
    specs = tf_env.time_step_spec(), tf_env.action_spec()
    parts = tf.nest.flatten(specs[0].observation)
    size = sum(part.shape.num_elements() for part in parts)
    networks = make_networks(d=size, a=specs[1].shape[0])
    return env, tf_env, IdqlPolicy(*specs, *networks, n, emit_info=True)


def test_drives_a_maze_with_dict_observations():
    _, tf_env, policy = _drive("PointMaze_UMaze-v3", 5)
    seen = []
    last, _ = DynamicEpisodeDriver(tf_env, policy, [seen.append], num_episodes=2).run()
    assert last.is_first() and len(seen) == 12, "twice 5 steps and a reset"
    actions = np.array([step.action for step in seen])
    assert np.abs(actions).max() <= 1 and actions.std() > 0.05
    # What a recorded step tells is what the policy says of its observation.
    value = policy.select(policy.spaces.flatten(seen[3].observation)).value
    np.testing.assert_allclose(seen[3].policy_info.value, value, atol=1e-5)


def test_drives_a_python_environment():
    env, _, policy = _drive("InvertedPendulum-v5", 4)
    seen = []
    eager = PyTFEagerPolicy(policy, use_tf_function=True)
    PyDriver(env, eager, [seen.append], max_steps=8).run(env.reset())
    actions = np.array([step.action for step in seen])
    assert len(actions) >= 8 and actions.shape[1:] == (1,)
    assert actions.dtype == np.float32 and np.abs(actions).max() <= 3


def test_a_million_sampled_actions_are_within_the_bounds():
    policy = make_policy("implicit", 1)
    for i in range(10):
        # select, since TF-Agents clips what action returns.
        found = policy.select(make_observations(100_000, i), i).action.numpy()
        assert (found >= LOW).all() and (found <= HIGH).all()
        assert (found == LOW).any(0).all() and (found == HIGH).any(0).all()
        assert 0.01 < np.mean((found > LOW) & (found < HIGH)) < 0.99


LOADING = """
import sys
import numpy as np
import tensorflow as tf
for name in "plain", "informing":
    o = tf.constant(np.load("given.npy"))
    step = {"step_type": tf.zeros([len(o)], tf.int32), "reward": tf.zeros([len(o)]),
            "discount": tf.ones([len(o)]), "observation": o}
    act = tf.saved_model.load(name).signatures["action"]
    out = act(**{"0/" + key: value for key, value in step.items()})
    np.savez(name, **{key.split("/")[-1]: value for key, value in out.items()})
assert not {"tf_agents", "tensorflow_probability", "idql_tf"} & set(sys.modules)
"""


def test_saved_policies_act_alike_where_there_is_only_tensorflow(tmp_path):
    saved = {"plain": ("implicit", False), "informing": ("argmax", True)}
    for name, (method, emit_info) in saved.items():
        policy = make_policy(method, emit_info=emit_info, xla=False)
        PolicySaver(policy, seed=9).save(str(tmp_path / name))
        # Nothing in it asks for XLA, which a server need not have.
        graph = (tmp_path / name / "saved_model.pb").read_bytes()
        assert b"StatelessRandomUniform" in graph and b"XlaMustCompile" not in graph
    np.save(tmp_path / "given.npy", OBSERVATIONS)
    command = [sys.executable, "-c", LOADING]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name, (method, emit_info) in saved.items():
        found = np.load(tmp_path / f"{name}.npz")
        expected = make_policy(method, emit_info=emit_info).action(STEP, seed=9)
        np.testing.assert_allclose(found["action"], expected.action, atol=1e-5)
        for key in PolicyInfo._fields if emit_info else ():
            told = getattr(expected.info, key)
            np.testing.assert_allclose(found[key], told, atol=1e-5)
