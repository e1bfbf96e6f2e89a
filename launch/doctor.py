"""Tries everything this package needs here, and says what is wrong and the cure.

Example:
  python launch/doctor.py --run_dir runs --json doctor.json

One line for each: Python, every package of setup.py, MuJoCo, XLA, GPU, SavedModel,
Reverb, the run directory, disk, memory, datasets. `warning` is what can be done
without, `failed` what cannot; exit code 0 if nothing failed, else 1. A crash or a hang
is a line too, for things are tried in a process of their own. Half a minute.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from idql_tf.doctor import examination  # noqa: E402

try:
    from absl import flags

    from idql_tf import cli
except ImportError as error:
    # Nothing is installed: there are no flags, and all the more to tell.
    print(f"{error}: flags are not read")
    sys.exit(examination.examine())

RUN_DIR = flags.DEFINE_string("run_dir", ".", "Where runs are to be written.")
JSON = flags.DEFINE_string("json", None, "File to write the results to as JSON.")
cli.define_gin_flags()


def main() -> int:
    gin = cli.FLAGS.gin_file, cli.FLAGS.gin_param
    return examination.examine(RUN_DIR.value, *gin, JSON.value)


if __name__ == "__main__":
    cli.run(main, import_libraries=False)
