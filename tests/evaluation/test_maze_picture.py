import numpy as np
import pytest

from idql_tf.data.transitions import DatasetInfo
from idql_tf.environments import collect
from idql_tf.evaluation import maze_picture
from idql_tf.evaluation.rollouts import Episodes

GOAL_KEYS = ("achieved_goal", "observation", "desired_goal")


def _info(keys, observation_size, action_size=2):
    bounds = (1.0,) * action_size
    return DatasetInfo(
        "a test", "", None, keys, observation_size, bounds, bounds, None, 1
    )


def _maze_spec():
    return collect._task("PointMaze_UMaze-v3", None)[0].to_json()


def test_point_maze_grid():
    info = _info(GOAL_KEYS, 8)
    points = maze_picture.maze_points(_maze_spec(), info, resolution=4)
    np.testing.assert_allclose(points.goal, [-1.0, 1.0])
    assert points.free.shape == (20, 20) == (len(points.y), len(points.x))
    assert points.free.sum() == 7 * 16 == len(points.observations)
    for (row, column), observation in zip(
        np.argwhere(points.free), points.observations, strict=True
    ):
        xy = [points.x[column], points.y[row]]
        cell = points.field.cell(np.array(xy))
        assert points.field.walls[cell] == 0
        np.testing.assert_allclose(observation, [*xy, *xy, 0, 0, -1, 1], rtol=1e-6)


def test_ant_maze_stands_in_the_pose_of_a_reset():
    info = _info(GOAL_KEYS, 31, 8)
    spec = "AntMaze_UMaze-v5"
    points = maze_picture.maze_points(spec, info, resolution=2)
    assert points.observations.shape[0] == 7 * 4
    assert points.field.cell_size == 4
    pose = points.observations[:, 2:-2]
    assert np.ptp(pose, axis=0).max() == 0 and np.abs(pose).max() > 0.5
    assert np.abs(points.observations[:, :2]).max() == 5.0


def test_other_environments_have_no_picture():
    assert maze_picture.maze_points("Hopper-v4", _info((), 11, 3)) is None


def test_saved_file_holds_values_and_trajectories(tmp_path):
    points = maze_picture.maze_points(
        _maze_spec(), _info(("observation",), 4), resolution=2
    )
    values = np.stack([points.observations[:, 0], points.observations[:, 1]])
    paths = np.arange(2 * 3 * 5 * 2, dtype=np.float32).reshape(2, 3, 5, 2)
    one = Episodes(np.ones((2, 4)), np.ones((2, 4)), np.ones((2, 4)), paths)
    many = Episodes(
        np.arange(8.0).reshape(2, 4), one.lengths, one.successes, paths[:, :, :4]
    )
    path = tmp_path / "maze.npz"
    maze_picture.save_maze(path, points, values, {1: one, 64: many}, seeds=(7, 9))
    assert [found.name for found in tmp_path.iterdir()] == ["maze.npz"]
    with np.load(path) as stored:
        saved = dict(stored)
    assert saved["maze_map"].dtype == np.int8
    assert saved["maze_map"].tolist()[2] == [1, 1, 1, 0, 1]
    assert saved["value"].shape == (2, 10, 10)
    np.testing.assert_array_equal(np.isfinite(saved["value"][0]), points.free)
    inside = saved["value"][1][points.free]
    rows = np.argwhere(points.free)[:, 0]
    np.testing.assert_allclose(inside, saved["value_y"][rows])
    assert saved["trajectory_xy"].shape == (12, 5, 2)
    assert np.isnan(saved["trajectory_xy"][6:, 4]).all()
    np.testing.assert_array_equal(saved["trajectory_xy"][5], paths[1, 2])
    assert saved["trajectory_num_candidates"].tolist() == [1] * 6 + [64] * 6
    assert saved["trajectory_seed"].tolist() == [7, 7, 7, 9, 9, 9] * 2
    assert saved["trajectory_return"][6:].tolist() == [0, 1, 2, 4, 5, 6]
    with pytest.raises(ValueError, match="expected"):
        maze_picture.save_maze(path, points, values[:, :3], {}, seeds=(7, 9))
    maze_picture.save_maze(path, points, values, {}, seeds=(7, 9))
    with np.load(path) as stored:
        assert len(stored["trajectory_xy"]) == 0
