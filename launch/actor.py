"""Acts with the learner's newest policy and sends what it finds to a replay server.

Example (see launch/replay_server.py for the other two):
  python launch/actor.py --run_dir runs/umaze --mode max --server localhost:8000

Start as many as there are cores for them, on any hosts that have a copy of the run;
they may come and go. An actor ends when the learner is done.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from idql_tf import cli  # noqa: E402

REQUEST = cli.define_request()
SERVER = cli.define_server()


def main() -> int:
    from idql_tf.runs import actor

    return actor.act(REQUEST(), SERVER.value)


if __name__ == "__main__":
    cli.run(main)
