"""Rollouts and actors with one-hot actions, in CartPole itself."""

import dataclasses

import gymnasium
import numpy as np
import pytest

from idql_tf.data.rewards import RewardRule
from idql_tf.data.transitions import DatasetInfo
from idql_tf.environments import factory
from idql_tf.errors import UserError
from idql_tf.evaluation import rollouts
from idql_tf.online.actor import Actor

CART = DatasetInfo(
    dataset="a test",
    sha256="",
    env_spec=factory.parse_spec("CartPole-v1").to_json(),
    observation_keys=(),
    observation_size=4,
    action_low=(0.0,),
    action_high=(1.0,),
    reference=None,
    num_episodes=1,
    discrete_actions=True,
)


def _push(observations, step):
    """Towards where the pole falls: not enough for long."""
    return np.eye(2, dtype=np.float32)[(observations[..., 2] > 0).astype(int)]


def test_the_environment_takes_the_numbers_of_one_hot_actions():
    found = rollouts.run_episodes(_push, CART, 2, 3, evaluation_seed=5)
    env, expected = gymnasium.make("CartPole-v1"), []
    for episode in range(3):
        observation, _ = env.reset(seed=rollouts.episode_seed(5, episode))
        total, over = 0.0, False
        while not over:
            observation, reward, *ends, _ = env.step(int(observation[2] > 0))
            total, over = total + reward, any(ends)
        expected.append(total)
    np.testing.assert_array_equal(found.returns, [expected] * 2)


def test_actors_keep_one_hot_actions():
    actor = Actor(CART, RewardRule("none", 1.0, 0.0), (0, 1), 3)
    items = [actor.step(_push) for _ in range(60)]
    actor.close()
    for item in items:
        seen = item["observations"]
        np.testing.assert_array_equal(item["actions"], _push(seen, 0))
    assert max(item["lengths"].max() for item in items) > 20, "pushed as it was told"


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"action_high": (2.0,)}, "actions are Discrete(2), the data's have 3 choices"),
        ({"discrete_actions": False}, "the data's have 1 dimensions"),
        ({"env_spec": "Pendulum-v1", "observation_size": 3}, "Box"),
    ],
)
def test_another_action_space_is_refused(changes, words):
    with pytest.raises(UserError) as caught:
        rollouts.check(dataclasses.replace(CART, **changes))
    assert words in str(caught.value)
