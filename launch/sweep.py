"""Trains tasks x seeds on a Ray cluster (or this machine) and ends in one table.

Example:
  python launch/sweep.py --spec gin/sweeps/mazes.gin --output runs/mazes

The spec is a gin file that says which tasks, with which data, gin files and seeds;
gin/sweeps/mazes.gin is one. What else it binds holds in every run; --gin_file and
--gin_param are read last.
Every run is one of train.py's (or finetune.py's), which other scripts take. The same
command goes on where a sweep ended. Needs the extra [cluster]; RAY_ADDRESS names a
cluster, whose nodes must share the output's file system.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

SPEC = flags.DEFINE_string("spec", None, "gin file of the sweep.", required=True)
OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for the runs and the report; by default runs/SPEC."
)
cli.define_gin_flags()


def main() -> int:
    from idql_tf.runs import sweep

    return sweep.run(
        SPEC.value, OUTPUT.value, flags.FLAGS.gin_file, flags.FLAGS.gin_param
    )


if __name__ == "__main__":
    cli.run(main)
