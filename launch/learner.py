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

from idql_tf import cli  # noqa: E402

REQUEST = cli.define_request()
NUM_ENV_STEPS, OUTPUT_DIR = cli.define_online_run()
SERVER = cli.define_server()


def main() -> int:
    from idql_tf.runs import learner

    return learner.learn(REQUEST(), NUM_ENV_STEPS.value, SERVER.value, OUTPUT_DIR.value)


if __name__ == "__main__":
    cli.run(main)
