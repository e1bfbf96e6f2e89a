"""Where the agent's numbers come from: gin's bindings, else the paper's."""

from __future__ import annotations

import gin
import numpy as np
import pytest
from experience import ACTION, OBSERVATION, A, B, D, make_rows, q_loss, trajectory
from tf_agents.trajectories import time_step as ts

from idql_tf import config
from idql_tf.agents import IdqlAgent
from idql_tf.critic.objectives import Expectile


@pytest.fixture(autouse=True)
def _clear():
    gin.clear_config()
    yield
    gin.clear_config()


def _plain_agent():
    return IdqlAgent(ts.time_step_spec(OBSERVATION), ACTION, 4)


def test_without_gin_the_numbers_are_the_papers():
    agent = _plain_agent()
    found = config.current()
    config.load([])
    assert found == config.current()
    kernels = [layer.kernel.shape.as_list() for layer in agent.critic.q.layers_]
    assert kernels == [[1, 2, D + A, 256], [1, 2, 256, 256], [1, 2, 256, 1]]
    assert agent.critic.objective == Expectile(0.7)
    assert agent.behavior.coefficients.num_steps == 5
    np.testing.assert_allclose(
        agent.loss(trajectory(make_rows(discount=[1.0] * B))).extra.q_loss,
        q_loss(agent, 0.99),
        rtol=1e-5,
    )


@gin.configurable("somebody")
def _somebody(number=None):
    return number


@pytest.mark.parametrize("locked", [False, True])
def test_what_a_user_bound_before_stays(locked):
    gin.parse_config("""
        SIZE = 9
        somebody.number = %SIZE
        Critic.discount = 0.9
        Critic.hidden_dims = (8,)
        Expectile.tau = 0.6
    """)
    if locked:
        gin.finalize()
    for _ in range(2):
        agent, text = _plain_agent(), config.current()
        loss = agent.loss(trajectory(make_rows(discount=[1.0] * B))).extra.q_loss
        np.testing.assert_allclose(loss, q_loss(agent, 0.9), rtol=1e-5)
        assert agent.critic.q.layers_[0].kernel.shape[-1] == 8
        assert agent.critic.objective == Expectile(0.6)
        assert gin.query_parameter("Critic.target_rate") == 0.005
        assert _somebody() == 9 and gin.config_is_locked() == locked
        config.add_defaults()
        assert config.current() == text


@pytest.mark.parametrize("name", ["Critic.objective", "BEHAVIOR_STEPS/macro.value"])
def test_any_binding_of_a_users_stays(name):
    """An object that gin cannot write down, and a macro that base.gin has too."""
    given = Expectile(0.9) if name == "Critic.objective" else 500
    gin.bind_parameter(name, given)
    agent = _plain_agent()
    assert gin.query_parameter(name) == given
    assert agent.critic.objective == Expectile(0.7 if given == 500 else 0.9)
