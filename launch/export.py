r"""Exports a trained run as a SavedModel that needs nothing but TensorFlow.

Example:
  python launch/export.py --run_dir runs/umaze --output models/umaze
  python launch/export.py --run_dir runs/umaze --output models/small \
      --num_candidates 16 --bfloat16 --tflite --safe_action 0,0

The directory holds the SavedModel, model_card.json (specs, bounds, data, scores) and,
with --tflite, model_float32.tflite and model_float16.tflite. docs/deploy.md shows how
to use it from Python, C++, TensorFlow Serving and TFLite.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402
from idql_tf.errors import UserError  # noqa: E402

RUN_DIR = flags.DEFINE_string("run_dir", None, "A run of train.py.", required=True)
OUTPUT = flags.DEFINE_string(
    "output", None, "Directory to make, or an empty one.", required=True
)
SEED = flags.DEFINE_integer("seed", None, "Training seed; default: the run's first.")
ENSEMBLE = flags.DEFINE_bool(
    "ensemble", False, "All of the run's seeds as one policy, instead of one seed."
)
EXTRACTION = cli.define_extraction()
NUM_CANDIDATES = flags.DEFINE_integer(
    "num_candidates",
    None,
    "Candidates per observation; default: the most the run was set to evaluate.",
    lower_bound=1,
)
BFLOAT16 = flags.DEFINE_bool("bfloat16", False, "Dense layers in bfloat16.")
TFLITE = flags.DEFINE_bool("tflite", False, "Also write TFLite models.")
SAFE_ACTION = flags.DEFINE_list(
    "safe_action",
    None,
    "Action for a non-finite observation, as 0,0,1; default: an assertion error.",
)
ENV_ID = flags.DEFINE_string(
    "env_id", None, "MODULE:ID of the run's own environment, to import its module."
)
cli.define_gin_flags()


def main() -> None:
    from idql_tf.runs import export

    if ENSEMBLE.value and SEED.value is not None:
        raise UserError("--seed and --ensemble exclude each other; give one of them")
    request = export.Request(
        SEED.value,
        ENSEMBLE.value,
        EXTRACTION.value,
        NUM_CANDIDATES.value,
        BFLOAT16.value,
        TFLITE.value,
        cli.parse_numbers("safe_action", SAFE_ACTION.value),
    )
    export.export(
        RUN_DIR.value,
        OUTPUT.value,
        request,
        cli.FLAGS.gin_file,
        cli.FLAGS.gin_param,
        ENV_ID.value,
    )


if __name__ == "__main__":
    cli.run(main)
