"""Acts with the learner's newest policy and sends what it finds to a replay server.

Example (see launch/replay_server.py for the other two):
  python launch/actor.py --run_dir runs/umaze --mode max --server localhost:8000

Start as many as there are cores for them, on any hosts that have a copy of the run;
they may come and go. An actor ends when the learner is done.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

RUN_DIR, MODE, ENV_ID = cli.define_source()
SERVER = cli.define_server()
cli.define_gin_flags()


def main() -> int:
    from idql_tf.runs import actor

    return actor.act(
        RUN_DIR.value,
        MODE.value,
        SERVER.value,
        flags.FLAGS.gin_file,
        flags.FLAGS.gin_param,
        ENV_ID.value,
    )


if __name__ == "__main__":
    cli.run(main)
