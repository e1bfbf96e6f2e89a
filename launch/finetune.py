"""Finetunes a trained run by acting in its environment.

Example:
  python launch/finetune.py --run_dir runs/umaze --mode max --num_env_steps 100000

--mode max keeps the behaviour model and explores with the best of N candidates; --mode
imp explores with the implicit policy and trains everything (IDQL Table 3). A Reverb
server holds the dataset and what the actors find: all in this process, or, with
--cluster, in processes that Ray places. The result is a run of its own (--output_dir,
by default RUN_DIR-MODE), which every other script takes; the
same command goes on where a stopped one ended. gin/base.gin has the settings
(finetune.num_environments and others).
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

REQUEST = cli.define_request()
NUM_ENV_STEPS, OUTPUT_DIR = cli.define_online_run()
CLUSTER = flags.DEFINE_bool(
    "cluster",
    False,
    "Let Ray place server, learner and gin cluster.num_actors actors, on the cluster "
    "of RAY_ADDRESS, else on this machine.",
)


def main() -> int:
    from idql_tf.runs import cluster, finetune

    run = cluster.finetune if CLUSTER.value else finetune.finetune
    return run(REQUEST(), NUM_ENV_STEPS.value, OUTPUT_DIR.value)


if __name__ == "__main__":
    cli.run(main)
