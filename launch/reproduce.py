"""Repeats a figure of the paper: a picture, its numbers and a verdict on its claims.

Example:
  python launch/reproduce.py figure1 --output figures --budget cpu

Writes NAME.png, NAME.csv and NAME.json (the claims, and whether they hold) into
--output. --budget quick takes seconds and proves nothing, cpu minutes to hours on two
cores, paper the paper's sizes.
figure1: a bandit with several good modes, AWR against IDQL.
figure2: values and implicit actors of the three objectives.
figure3: outliers of the MLP's and the LN-ResNet's diffusion models on 2-D sets.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

NAMES = ("figure1", "figure2", "figure3")
OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for what it writes.", required=True
)
BUDGET = flags.DEFINE_enum(
    "budget", "cpu", ["quick", "cpu", "paper"], "How much is computed."
)
cli.define_gin_flags()


def main(name: str) -> int:
    from idql_tf.runs import reproduce

    return reproduce.reproduce(
        name, OUTPUT.value, BUDGET.value, cli.FLAGS.gin_file, cli.FLAGS.gin_param
    )


if __name__ == "__main__":
    cli.run(main, one_of=NAMES)
