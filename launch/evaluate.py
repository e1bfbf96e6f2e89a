r"""Evaluates a trained run and renews its evaluations.csv, summary and report.

Example:
  python launch/evaluate.py --run_dir runs/umaze --episodes 100 \
      --extraction argmax --num_candidates 64

With --extraction argmax and no --num_candidates the run's own methods are evaluated
(IDQL and N = 1). The run's own configuration is used; --gin_file and --gin_param are
read after it, such as --gin_param evaluate.evaluation_seed=2: what these give is kept
apart, with a report of its own, in --output_dir (by default RUN_DIR-evaluated).
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

RUN_DIR = flags.DEFINE_string("run_dir", None, "A run of train.py.", required=True)
EPISODES = flags.DEFINE_integer(
    "episodes", None, "Episodes per seed; default: as in training.", lower_bound=1
)
EXTRACTION = cli.define_extraction()
NUM_CANDIDATES = flags.DEFINE_integer(
    "num_candidates", None, "Candidates per observation.", lower_bound=1
)
ENV_ID = flags.DEFINE_string(
    "env_id", None, "MODULE:ID of the run's own environment, to import its module."
)
OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Where results of other settings than the run's own go."
)
cli.define_gin_flags()


def main() -> int:
    from idql_tf.runs import jobs

    return jobs.evaluate(
        RUN_DIR.value,
        EPISODES.value,
        EXTRACTION.value,
        NUM_CANDIDATES.value,
        cli.FLAGS.gin_file,
        cli.FLAGS.gin_param,
        ENV_ID.value,
        OUTPUT_DIR.value,
    )


if __name__ == "__main__":
    cli.run(main)
