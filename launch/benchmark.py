"""Measures training and policy rates beside this machine's own matmul rate.

Example:
  python launch/benchmark.py --json benchmark.json

Everything is measured in one run on random data, at the paper's sizes and the
quickstart's, with XLA off and on: several minutes on two cores. Close other
programs first. gin/base.gin has the settings (benchmark.repeats and others).

`matmuls` are the same products as plain matmuls, each layer after the one before;
`fraction` is our rate by theirs, `beside` by that of all of them side by side.
Wide layers train some of theirs in a faster way than tf.matmul (docs/speed.md).
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

JSON = flags.DEFINE_string("json", None, "File to write all numbers to as JSON.")
cli.define_gin_flags()


def main() -> None:
    from idql_tf.benchmark import suite

    suite.run(flags.FLAGS.gin_file, flags.FLAGS.gin_param, JSON.value)


if __name__ == "__main__":
    cli.run(main)
