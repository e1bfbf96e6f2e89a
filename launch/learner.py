r"""Learns from what actors in other processes send to a replay server.

Example (see launch/replay_server.py for the other two):
  python launch/learner.py --run_dir runs/umaze --mode max --num_env_steps 100000 \
      --server localhost:8000

The result is a run of its own (--output_dir, by default RUN_DIR-MODE), as that of
launch/finetune.py. The same command goes on where a stopped or killed learner ended;
the actors wait for it meanwhile.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

RUN_DIR, MODE, ENV_ID = cli.define_source()
NUM_ENV_STEPS, OUTPUT_DIR = cli.define_online_run()
SERVER = cli.define_server()
cli.define_gin_flags()


def main() -> int:
    from idql_tf.runs import learner

    return learner.learn(
        RUN_DIR.value,
        MODE.value,
        NUM_ENV_STEPS.value,
        SERVER.value,
        OUTPUT_DIR.value,
        flags.FLAGS.gin_file,
        flags.FLAGS.gin_param,
        ENV_ID.value,
    )


if __name__ == "__main__":
    cli.run(main)
