"""Writes run directories with the files of contract C3 and known numbers."""

import json
import pathlib

import numpy as np

from idql_tf.columns import EVALUATION_COLUMNS, METRIC_COLUMNS

U_MAZE = np.array(
    [
        [1, 1, 1, 1, 1],
        [1, 0, 0, 0, 1],
        [1, 1, 1, 0, 1],
        [1, 0, 0, 0, 1],
        [1, 1, 1, 1, 1],
    ],
    dtype=np.int8,
)
REFERENCE = {"minimum": 10.0, "maximum": 210.0, "source": "measured refs (ours)"}
_ENV_SPEC = json.dumps({"id": "PointMaze_UMaze-v3", "max_episode_steps": 300})


def write_run(
    path: pathlib.Path,
    seeds=(0, 1, 2),
    candidates=(1, 16, 64),
    evaluations=10,
    episodes=50,
    reference=REFERENCE,
    dataset="minari:d4rl-like/maze2d/umaze-v0",
    level=150.0,
    maze=True,
    methods=None,
    env_id=None,
) -> pathlib.Path:
    """Writes spec.json, config.gin, both CSV files and maze.npz."""
    path.mkdir(parents=True)
    spec = {
        "dataset": {
            "dataset": dataset,
            "sha256": "3f" * 32,
            "env_spec": _ENV_SPEC,
            "observation_keys": ["achieved_goal", "observation", "desired_goal"],
            "observation_size": 8,
            "action_low": [-1.0, -1.0],
            "action_high": [1.0, 1.0],
            "reference": reference,
            "num_episodes": 417,
        },
        "dataset_score": 3.4 if reference else None,
        "dataset_returns": {
            "edges": np.linspace(0, 106, 31).tolist(),
            "counts": np.round(200 * np.exp(-np.arange(30) / 5)).astype(int).tolist(),
        },
        "reward_rule": {"name": "none", "scale": 1.0, "offset": 0.0},
        "seeds": list(seeds),
        "versions": {"idql_tf": "0.1.0", "tensorflow": "2.15.1", "gymnasium": "1.3.0"},
        "observation_size": 8,
        "action_size": 2,
        "env_id": env_id,
    }
    if methods:
        spec["methods"] = [list(method) for method in methods]
    (path / "spec.json").write_text(json.dumps(spec))
    (path / "config.gin").write_text(
        "Expectile.tau = 0.9\ntrain.critic_steps = 50_000\n"
    )
    rng = np.random.default_rng(7)
    rows = episode_rows(rng, seeds, candidates, evaluations, episodes, reference, level)
    write_csv(path / "evaluations.csv", EVALUATION_COLUMNS, rows)
    write_csv(path / "metrics.csv", METRIC_COLUMNS, metric_rows(rng, seeds))
    if maze:
        np.savez(path / "maze.npz", **maze_arrays(rng, len(seeds)))
    return path


def write_csv(path, columns, rows):
    lines = [",".join(columns)] + [
        ",".join(str(field) for field in row) for row in rows
    ]
    path.write_text("\n".join(lines) + "\n")


def episode_rows(rng, seeds, candidates, evaluations, episodes, reference, level):
    for k in range(evaluations):
        for seed in seeds:
            for number in candidates:
                top = level * (
                    0.25 if number == 1 else 0.8 + 0.05 * np.log2(number) / 1.5
                )
                centre = (
                    top * (1 - 0.75 * np.exp(-k / 2.5)) + rng.normal(0, 6) + 3 * seed
                )
                for episode in range(episodes):
                    value = round(float(max(0.0, rng.normal(centre, 30))), 3)
                    score = ""
                    if reference:
                        span = reference["maximum"] - reference["minimum"]
                        score = 100 * (value - reference["minimum"]) / span
                    success = int(value > 20)
                    step = 5_000 * (k + 1)
                    yield (
                        *("offline", step, seed, "argmax", number, episode),
                        *(value, 300, score, success),
                    )


def metric_rows(rng, seeds):
    for step in range(500, 50_001, 500):
        t = step / 50_000
        for seed in seeds:
            jitter = rng.normal(0, 0.02, size=6) + 0.01 * seed
            for name, value in (
                ("critic/q_mean", 22 * (1 - np.exp(-4 * t))),
                ("critic/v_loss", 0.2 + 0.6 * np.exp(-5 * t)),
                ("critic/q_loss", 0.3 + 0.9 * np.exp(-4 * t)),
                ("behavior/loss", 0.35 + 0.6 * np.exp(-8 * t)),
                ("time/steps_per_second", 180.0),
            ):
                noise = jitter[len(name) % 6]
                yield "offline", step, seed, name, round(float(value + noise), 6)
            if step % 5_000 == 0:
                held_out = 0.38 + 0.6 * np.exp(-8 * t) + jitter[5]
                yield "offline", step, seed, "validation/behavior_loss", held_out
                yield "offline", step, seed, "validation/v_loss", 0.25 + held_out / 2


def maze_arrays(rng, num_seeds, length=120):
    """V falls with the way left to a goal at the lower left end of the U."""
    grid = np.linspace(-2.5, 2.5, 101)
    x, y = np.meshgrid(grid, grid)
    way = np.where(y > 0.5, 4 + (1 - x), np.where(y > -0.5, 2 + (y + 1), x + 1))
    cells = U_MAZE[
        np.clip((2.5 - y).astype(int), 0, 4), np.clip((x + 2.5).astype(int), 0, 4)
    ]
    value = np.where(cells == 1, np.nan, 40 * 0.8**way).astype(np.float32)
    corners = np.array([[-1, 1], [1, 1], [1, -1], [-1, -1]], dtype=float)
    trajectories = []
    for k in range(16):
        reach = rng.uniform(0.3, 1.7) if k < 8 else 3.0
        t = np.minimum(np.linspace(0, 3.2, length) * reach / 3.2, 2.999)
        low = t.astype(int)
        line = corners[low] + (t - low)[:, None] * (corners[low + 1] - corners[low])
        wander = np.cumsum(rng.normal(0, 0.012, line.shape), axis=0)
        line = line + np.clip(wander + rng.normal(0, 0.1, 2), -0.3, 0.3)
        line[length - 5 * (k % 4) :] = np.nan
        trajectories.append(line)
    return {
        "maze_map": U_MAZE,
        "cell_size": 1.0,
        "goal": np.array([-1.0, -1.0]),
        "value_x": grid,
        "value_y": grid,
        "value": np.stack([value + s for s in range(num_seeds)]),
        "trajectory_xy": np.array(trajectories, dtype=np.float32),
        "trajectory_num_candidates": np.repeat([1, 64], 8),
        "trajectory_return": np.repeat([38.0, 141.0], 8),
        "trajectory_seed": np.arange(16) % num_seeds,
    }
