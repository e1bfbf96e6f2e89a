r"""Serves the transitions of a finetuning in processes of their own (Reverb).

Example, each line in a terminal of its own or on a host of its own:
  python launch/replay_server.py --run_dir runs/umaze --mode max \
      --folder runs/umaze-replay --port 8000
  python launch/learner.py --run_dir runs/umaze --mode max --num_env_steps 100000 \
      --server localhost:8000
  python launch/actor.py --run_dir runs/umaze --mode max --server localhost:8000

It saves to --folder from time to time and at SIGTERM; started again with the same
command it serves what it saved. It listens on this machine alone unless told
--everywhere: whoever reaches its port can read and write transitions and weights.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

REQUEST = cli.define_request()
FOLDER = flags.DEFINE_string(
    "folder", None, "Where its checkpoints are kept.", required=True
)
PORT = flags.DEFINE_integer(
    "port", 8000, "Where it listens.", lower_bound=1, upper_bound=65_535
)
EVERYWHERE = flags.DEFINE_bool(
    "everywhere", False, "Listen on all network interfaces; trust the network."
)


def main() -> int:
    from idql_tf.runs import replay_server

    return replay_server.serve(REQUEST(), FOLDER.value, PORT.value, EVERYWHERE.value)


if __name__ == "__main__":
    cli.run(main)
