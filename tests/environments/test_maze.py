import numpy as np
import pytest

from idql_tf.environments import factory, maze

U_MAZE = maze.Maze(
    (
        (1, 1, 1, 1, 1),
        (1, "g", 0, 0, 1),
        (1, 1, 1, 0, 1),
        (1, 0, 0, 0, 1),
        (1, 1, 1, 1, 1),
    )
)


@pytest.mark.parametrize("env_id", ["PointMaze_Large-v3", "AntMaze_Medium-v5"])
def test_geometry_is_the_environments(env_id):
    env = factory.make(env_id)
    field = maze.from_environment(env)
    theirs = env.unwrapped.maze
    assert field.cell_size == theirs.maze_size_scaling
    for cell in np.ndindex(field.walls.shape):
        center = theirs.cell_rowcol_to_xy(np.array(cell))
        np.testing.assert_allclose(field.center(cell), center)
        corner = center + 0.49 * field.cell_size
        assert field.cell(corner) == tuple(theirs.cell_xy_to_rowcol(corner)) == cell


def test_other_environments_have_no_maze():
    assert maze.from_environment(factory.make("CartPole-v1")) is None


def test_shortest_path_goes_around_the_wall():
    path = maze.shortest_path(U_MAZE.walls, (3, 1), (1, 1))
    assert path == [(3, 1), (3, 2), (3, 3), (2, 3), (1, 3), (1, 2), (1, 1)]
    assert maze.shortest_path(U_MAZE.walls, (1, 1), (1, 1)) == [(1, 1)]


def test_distances_agree_with_repeated_relaxation():
    walls = (np.random.default_rng(0).random((9, 11)) < 0.3).astype(np.int8)
    target = tuple(np.argwhere(walls == 0)[5])
    expected = np.where(walls == 0, np.inf, np.nan)
    expected[target] = 0
    for _ in range(walls.size):
        padded = np.pad(expected, 1, constant_values=np.nan)
        around = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2]]
        around.append(padded[1:-1, 2:])
        nearest = np.fmin.reduce(around) + 1
        expected = np.where(walls == 0, np.fmin(expected, nearest), np.nan)
    found = maze.distances(walls, target)
    np.testing.assert_array_equal(found, np.where(np.isfinite(expected), expected, -1))
    assert (found == -1).sum() > walls.sum(), "the map has unreachable free cells"


def test_no_way_gives_an_empty_path():
    walls = np.array([[0, 1, 0]], np.int8)
    assert maze.shortest_path(walls, (0, 0), (0, 2)) == []
    assert maze.shortest_path(walls, (0, 1), (0, 2)) == []


def test_goal_cells_and_marking_another():
    assert U_MAZE.goal_cells == [(1, 1)]
    assert U_MAZE.with_goal((3, 1)).goal_cells == [(3, 1)]
    unmarked = maze.Maze(((1, 0, 0, 1),))
    assert unmarked.goal_cells == unmarked.free_cells == [(0, 1), (0, 2)]


def test_controller_pulls_to_the_waypoint_and_brakes():
    pilot = maze.WaypointController(U_MAZE, gain=2.0, damping=0.5, radius=0.25)
    pilot.set_target(U_MAZE.center((1, 2)), np.array([-1.0, 1.0]))
    action = pilot.act(np.array([0.0, 1.2, -1.0, 0.0]))
    np.testing.assert_allclose(action, [-1.0, -0.4])
    action = pilot.act(np.array([-0.9, 1.0, -1.0, 0.0]), noise=np.array([0.1, 0.2]))
    np.testing.assert_allclose(action, [-0.2 + 0.5 + 0.1, 0.2])
    assert pilot.arrived(np.array([-0.9, 1.0, 0.0, 0.0]))
