r"""Collects a dataset with scripted controllers: mazes, CartPole, Acrobot, LunarLander.

Needs no download. Writes a Minari dataset with its environment and reference
scores, and prints the --dataset to train on next.

    python launch/collect.py --env_id PointMaze_UMaze-v3 --num_steps 100000 \
        --output runs/data/maze2d/umaze-v0
    python launch/collect.py --env_id CartPole-v1 --num_steps 50000 \
        --output runs/data/cartpole/mixed-v0
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

ENV_ID = flags.DEFINE_string(
    "env_id",
    "PointMaze_UMaze-v3",
    "a PointMaze_* id, CartPole-v1, Acrobot-v1 or LunarLander-v3.",
)
NUM_STEPS = flags.DEFINE_integer(
    "num_steps", 100_000, "transitions; rounded up to whole episodes.", lower_bound=1
)
OUTPUT = flags.DEFINE_string(
    "output", None, "new directory for the dataset.", required=True
)
SEED = flags.DEFINE_integer("seed", 0, "decides everything random.", lower_bound=0)
cli.define_gin_flags()


def main() -> None:
    from idql_tf.environments import collect

    cli.load_gin()
    collected = collect.collect(ENV_ID.value, NUM_STEPS.value, OUTPUT.value, SEED.value)
    print(collected.describe())


if __name__ == "__main__":
    cli.run(main)
