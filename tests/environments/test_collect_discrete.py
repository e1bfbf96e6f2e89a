import sys

import gymnasium
import numpy as np
import pytest

from idql_tf import data
from idql_tf.environments import collect, collect_discrete
from idql_tf.errors import UserError

STEPS = 1_200


@pytest.fixture(scope="module")
def cart(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "cartpole" / "mixed-v0"
    return collect.collect("CartPole-v1", STEPS, path)


@pytest.fixture(scope="module")
def loaded(cart):
    return data.load(f"minari:{cart.path}")


def test_it_loads_as_discrete_actions_with_its_references(cart, loaded):
    assert len(loaded) == cart.num_steps >= STEPS
    assert loaded.info.discrete_actions and loaded.info.action_size == 2
    assert 'CartPole-v1"' in loaded.info.env_spec
    np.testing.assert_array_equal(loaded.episode_returns(), cart.returns)
    reference = loaded.info.reference
    assert reference.minimum < 40 and reference.maximum == 500
    # A fallen pole is an end, the time limit is none.
    fell = loaded.masks[loaded.dones] == 0
    np.testing.assert_array_equal(fell, cart.returns < 500)


def test_recorded_actions_replay(loaded):
    env, part = gymnasium.make("CartPole-v1"), loaded.episode_slices()[1]
    rng = np.random.default_rng((0, 1))
    observation, _ = env.reset(seed=int(rng.integers(2**31)))
    np.testing.assert_array_equal(loaded.observations[part][0], observation)
    for action, expected in zip(
        loaded.info.to_env_action(loaded.actions[part]),
        loaded.next_observations[part],
        strict=True,
    ):
        np.testing.assert_array_equal(env.step(action)[0], expected)


def test_seed_decides_every_number(loaded, tmp_path):
    again, other = (
        data.load(f"minari:{collect.collect('CartPole-v1', STEPS, path, seed).path}")
        for path, seed in ((tmp_path / "again-v0", 0), (tmp_path / "other-v0", 1))
    )
    assert again.info.sha256 == loaded.info.sha256 != other.info.sha256


def test_delay_and_randomness_make_it_worse():
    env = gymnasium.make("Acrobot-v1")

    def mean_return(delay, random_part):
        rngs = map(np.random.default_rng, range(3))
        run = collect_discrete.run_episode
        episodes = [run(env, "Acrobot-v1", rng, delay, random_part) for rng in rngs]
        return np.mean([episode.rewards.sum() for episode in episodes])

    levels = [(0, 0.0), (3, 0.3), (6, 0.3), (0, 1.0)]
    good, bad, late, random = (mean_return(*level) for level in levels)
    assert good > -150 and good - 50 > bad > late == random == -500


def test_the_lander_lands():
    pytest.importorskip("Box2D", reason='no Box2D: pip install "gymnasium[box2d]"')
    env = gymnasium.make("LunarLander-v3")

    def mean_return(random_part):
        rngs = map(np.random.default_rng, range(10))
        run = collect_discrete.run_episode
        episodes = [run(env, "LunarLander-v3", r, 0, random_part) for r in rngs]
        return np.mean([episode.rewards.sum() for episode in episodes])

    assert mean_return(0.0) > 150 > 0 > mean_return(1.0)


def test_a_missing_box2d_is_told(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if "box2d" in name.lower()]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    with pytest.raises(UserError, match="Box2D is not installed"):
        collect.collect("LunarLander-v3", 100, tmp_path / "lander-v0")


@pytest.mark.parametrize(
    "levels", [[(-1, 0.3)], [(0, 1.5)], [(0.5, 0.0)], [], [3], 5, [(0, 0.3, 1)]]
)
def test_what_is_no_level_is_refused(levels, tmp_path):
    with pytest.raises(UserError, match="collect_discrete.levels"):
        collect_discrete.collect("CartPole-v1", 9, tmp_path / "x", levels=levels)
    assert not list(tmp_path.iterdir())
