r"""Trains IDQL offline on a dataset, or resumes a stopped run.

Example:
  python launch/train.py --dataset minari:d4rl-like/maze2d/umaze-v0 \
      --run_dir runs/umaze --seeds 0,1,2 \
      --gin_file gin/tasks/maze2d.gin --gin_file gin/protocols/quickstart.gin

gin/base.gin (the paper's numbers) is read first, then each --gin_file, then
each --gin_param. Run the same command again to resume after a kill.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "minari:ID, d4rl:FILE.hdf5, ogbench:FILE.npz or npz:FILE.npz.",
    required=True,
)
RUN_DIR = flags.DEFINE_string(
    "run_dir",
    None,
    "Directory of the run; made if absent, resumed if it is one.",
    required=True,
)
SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds trained in one program: 0,1,2.")
ENV_ID = flags.DEFINE_string(
    "env_id", None, "Environment to evaluate in, where the data record none."
)
cli.define_gin_flags()


def main() -> int:
    from idql_tf.runs import jobs

    cli.load_gin()
    return jobs.train(
        DATASET.value, RUN_DIR.value, cli.parse_seeds(SEEDS.value), ENV_ID.value
    )


if __name__ == "__main__":
    cli.run(main)
