import dataclasses
import json

import counting_environment
import numpy as np
import pytest

from idql_tf.data import preprocessing
from idql_tf.data.transitions import DatasetInfo
from idql_tf.environments import factory
from idql_tf.errors import UserError
from idql_tf.evaluation import rollouts

GOAL_KEYS = ("achieved_goal", "observation", "desired_goal")


def _info(env_spec, observation_size, action_size, keys=(), low=-1.0, high=1.0):
    bounds = {"action_low": (low,) * action_size, "action_high": (high,) * action_size}
    return DatasetInfo(
        dataset="a test",
        sha256="",
        env_spec=env_spec,
        observation_keys=keys,
        observation_size=observation_size,
        reference=None,
        num_episodes=1,
        **bounds,
    )


COUNTING = _info("Counting-v0", 2, 1, low=-2.0, high=4.0)


def _constant(value, action_size=1):
    def act(observations, step):
        return np.full((*observations.shape[:2], action_size), value, np.float32)

    return act


def _start(evaluation_seed, episode):
    env = counting_environment.CountingEnv()
    seed = rollouts.episode_seed(evaluation_seed, episode)
    return int(env.reset(seed=seed)[0][0])


@pytest.mark.parametrize("max_parallel", [1, 3, 7, 50])
def test_every_episode_is_counted_exactly_and_no_step_is_wasted(max_parallel):
    counting_environment.CountingEnv.steps_taken = 0
    seen = []

    def act(observations, step):
        assert step == len(seen)
        seen.append(observations)
        return _constant(0.5)(observations, step)

    result = rollouts.run_episodes(act, COUNTING, 2, 7, 5, max_parallel)
    starts = np.array([_start(5, episode) for episode in range(7)])
    assert {int(s) % 2 for s in starts} == {0, 1}, "both kinds of ends are met"
    lengths = np.tile(3 + starts % 4, (2, 1))
    np.testing.assert_array_equal(result.lengths, lengths)
    np.testing.assert_allclose(result.returns, 2.5 * lengths)  # 0.5 of [-2, 4]
    np.testing.assert_array_equal(result.successes, np.tile(starts % 2 == 0, (2, 1)))
    assert counting_environment.CountingEnv.steps_taken == lengths.sum()
    assert {o.shape for o in seen} == {(2, min(7, max_parallel), 2)}
    assert {o.dtype for o in seen} == {np.dtype(np.float32)}
    assert result.trajectories is None


def test_observations_of_two_episodes_never_mix():
    seen = []

    def act(observations, step):
        seen.append(observations.copy())
        return _constant(0.0)(observations, step)

    rollouts.run_episodes(act, COUNTING, 1, 20, 3, max_parallel=4)
    starts = {_start(3, episode) for episode in range(20)}
    met = set()
    for slot in np.moveaxis(np.array(seen)[:, 0], 1, 0):
        for (start, time), (next_start, next_time) in zip(slot, slot[1:], strict=False):
            met.add(int(start))
            last_seen = time == 2 + start % 4
            if last_seen and next_time == 0:
                continue
            at_rest = last_seen and (next_start, next_time) == (start, time + 1)
            parked = time == 3 + start % 4
            if parked or at_rest:
                assert next_start == start
            else:
                assert (next_start, next_time) == (start, time + 1)
    assert met <= starts and len(met) > 10


def test_a_member_of_a_stack_meets_what_it_meets_alone():
    def act(observations, step):
        level = np.arange(len(observations))[:, None, None] / 10
        return np.zeros((*observations.shape[:2], 1)) + level + 0.01 * (step % 3)

    def third(observations, step):
        return act(np.repeat(observations, 3, axis=0), step)[2:]

    stack = rollouts.run_episodes(act, COUNTING, 3, 11, 0, max_parallel=4)
    alone = rollouts.run_episodes(third, COUNTING, 1, 11, 0, max_parallel=4)
    np.testing.assert_array_equal(stack.returns[2:], alone.returns)
    np.testing.assert_array_equal(stack.lengths[0], stack.lengths[1])
    assert (stack.returns[0] != stack.returns[1]).all()


def test_repeats_exactly_and_another_seed_differs():
    runs = [
        rollouts.run_episodes(_constant(1.0), COUNTING, 1, 9, seed, 4)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(runs[0].returns, runs[1].returns)
    assert (runs[0].lengths != runs[2].lengths).any()


def test_success_is_unknown_where_the_environment_does_not_tell():
    spec = factory.parse_spec("Counting-v0")
    spec.kwargs = {"tells_success": False}
    spec.entry_point = "counting_environment:CountingEnv"
    info = dataclasses.replace(COUNTING, env_spec=spec.to_json())
    assert np.isnan(
        rollouts.run_episodes(_constant(0.0), info, 1, 3, 0).successes
    ).all()


def test_progress_reaches_the_total():
    calls = []

    def note(finished, total):
        calls.append((finished, total))

    rollouts.run_episodes(_constant(0.0), COUNTING, 2, 5, 0, 2, on_progress=note)
    assert calls[-1] == (10, 10)
    assert calls == sorted(calls)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"env_spec": None}, "records no environment"),
        ({"env_spec": "Countin-v0"}, "did you mean Counting-v0"),
        ({"observation_size": 3}, "gives 2 numbers as observation, the data have 3"),
        ({"observation_keys": ("observation",)}, "observation keys are"),
        ({"action_low": (0.0, 0.0)}, "the data's have 2 dimensions"),
    ],
)
def test_environment_that_does_not_fit_is_refused(changes, expected):
    info = dataclasses.replace(COUNTING, **changes)
    with pytest.raises(UserError) as caught:
        rollouts.run_episodes(_constant(0.0), info, 1, 2, 0)
    assert expected in str(caught.value)


def test_bad_actions_and_counts_are_refused():
    with pytest.raises(FloatingPointError, match="non-finite"):
        rollouts.run_episodes(_constant(np.nan), COUNTING, 1, 2, 0)
    with pytest.raises(ValueError, match=r"\(1, 2, 3\); expected \(1, 2, 1\)"):
        rollouts.run_episodes(_constant(0.0, action_size=3), COUNTING, 1, 2, 0)
    with pytest.raises(UserError, match="episodes is 0"):
        rollouts.run_episodes(_constant(0.0), COUNTING, 1, 0, 0)


def test_an_episode_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(rollouts, "_LONGEST_EPISODE", 50)
    endless = dataclasses.replace(COUNTING, env_spec="Endless-v0")
    with pytest.raises(UserError, match="max_episode_steps"):
        rollouts.run_episodes(_constant(0.0), endless, 1, 1, 0)


def _by_hand(info, policy, evaluation_seed, episodes):
    """The same episodes in a plain loop over one environment."""
    env = factory.make(info.env_spec)
    outcomes = []
    for episode in range(episodes):
        seed = rollouts.episode_seed(evaluation_seed, episode)
        observation, _ = env.reset(seed=seed)
        total, length, success, done = 0.0, 0, np.nan, False
        while not done:
            flat = preprocessing.flatten_observation(observation, info.observation_keys)
            action = preprocessing.to_env_action(
                policy(flat[None, None])[0, 0], info.action_low, info.action_high
            )
            observation, reward, terminated, truncated, told = env.step(action)
            total, length, done = total + reward, length + 1, terminated or truncated
            success = np.fmax(success, told.get("success", np.nan))
        outcomes.append((total, length, success))
    return np.array(outcomes).T


@pytest.mark.parametrize(
    "info",
    [_info("Hopper-v4", 11, 3), _info("PointMaze_UMaze-v3", 8, 2, GOAL_KEYS)],
    ids=["hopper", "maze"],
)
def test_real_environment_agrees_with_a_plain_loop(info):
    shape = (info.observation_size, info.action_size)
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def policy(observations):
        return np.tanh(np.einsum("sbd,da->sba", observations, weights))

    found = rollouts.run_episodes(lambda o, _: policy(o), info, 2, 5, 11, 3)
    returns, lengths, successes = _by_hand(info, policy, 11, 5)
    for member in range(2):
        np.testing.assert_array_equal(found.lengths[member], lengths)
        np.testing.assert_allclose(found.returns[member], returns, rtol=1e-6)
        np.testing.assert_array_equal(found.successes[member], successes)


def test_trajectories_of_a_maze(shared_datasets):
    path = shared_datasets / "d4rl-like/maze2d/umaze-v0/data/metadata.json"
    spec = json.loads(path.read_text())["env_spec"]
    info = _info(spec, 4, 2, ("observation",))
    firsts = []

    def act(observations, step):
        if step == 0:
            firsts.append(observations[..., :2].copy())
        return np.zeros((*observations.shape[:2], 2), np.float32)

    found = rollouts.run_episodes(act, info, 2, 6, 0, 4, num_trajectories=3)
    assert found.trajectories.shape == (2, 3, 301, 2)
    assert found.trajectories.dtype == np.float32
    np.testing.assert_array_equal(found.trajectories[:, :, 0], firsts[0][:, :3])
    np.testing.assert_array_equal(found.trajectories[0], found.trajectories[1])
    assert np.isfinite(found.trajectories).all()
    assert set(found.successes.ravel()) == {0.0}, "zero actions reach no goal"


def test_a_maze_episode_ends_early_on_success():
    spec = factory.parse_spec("PointMaze_UMaze-v3")
    spec.max_episode_steps = 150
    corridor = [[1, 1, 1, 1, 1], [1, "g", 0, "r", 1], [1, 1, 1, 1, 1]]
    spec.kwargs |= {"maze_map": corridor, "continuing_task": False}
    info = _info(spec.to_json(), 8, 2, GOAL_KEYS)
    goals = []

    def act(observations, step):
        position, velocity = observations[..., :2], observations[..., 4:6]
        goals.append(observations[0, :, 6:].copy())
        actions = np.clip(10 * (observations[..., 6:] - position) - velocity, -1, 1)
        actions[1] = 0.0
        return actions

    found = rollouts.run_episodes(act, info, 2, 4, 0)
    np.testing.assert_array_equal(found.successes, [[1.0] * 4, [0.0] * 4])
    np.testing.assert_array_equal(found.returns, [[1.0] * 4, [0.0] * 4])
    np.testing.assert_array_equal(found.lengths[1], 150)
    assert (found.lengths[0] > 10).all() and (found.lengths[0] < 150).all()
    for path, length, goal in zip(
        found.trajectories[0], found.lengths[0], goals[0], strict=True
    ):
        distances = np.linalg.norm(path - goal, axis=-1)
        assert (distances[:length] > 0.45).all() and distances[length] <= 0.45
        assert np.isnan(distances[length + 1 :]).all()


def test_antmaze_runs_to_its_time_limit_without_success(shared_datasets):
    path = shared_datasets / "d4rl-like/antmaze/umaze-v0/data/metadata.json"
    fields = json.loads(path.read_text())
    spec = json.loads(fields["env_spec"])
    spec["max_episode_steps"] = 20
    info = _info(json.dumps(spec), 31, 8, GOAL_KEYS)
    found = rollouts.run_episodes(_constant(0.0, 8), info, 1, 2, 0)
    np.testing.assert_array_equal(found.lengths, 20)
    np.testing.assert_array_equal(found.successes, 0.0)
    assert found.trajectories.shape == (1, 2, 21, 2)
