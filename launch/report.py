"""Writes one self-contained HTML page on a run, or a comparison of several.

Example:
  python launch/report.py --run_dir runs/umaze --output report.html
  python launch/report.py --run_dir runs/a --run_dir runs/b --output both.html

Without --output, one run's page goes to report.html in its run directory.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from idql_tf import cli

_RUN_DIR = flags.DEFINE_multi_string(
    "run_dir", [], "run directory written by launch/train.py; repeatable."
)
_OUTPUT = flags.DEFINE_string("output", None, "path of the HTML page to write.")
cli.define_gin_flags()


def main() -> None:
    from idql_tf.evaluation import report

    cli.load_gin()
    print(report.write(_RUN_DIR.value, _OUTPUT.value))


if __name__ == "__main__":
    cli.run(main)
