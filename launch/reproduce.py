r"""Repeats a figure or table of the paper: picture, numbers, verdict on claims.

Example:
  python launch/reproduce.py figure1 --output figures --budget cpu

Writes NAME.png, NAME.csv and NAME.json (the claims, and whether they hold) into
--output. --budget quick takes seconds to minutes and proves nothing, cpu minutes to
hours on two cores, paper the paper's sizes.
figure1: a bandit with several good modes, AWR against IDQL.
figure2: values and implicit actors of the three objectives.
figure3: outliers of the MLP's and the LN-ResNet's diffusion models on 2-D sets. Each
  model's points are kept in --output/figure3-points; the same command goes on.
These train runs of train.py and finetune.py, in --output/NAME-runs, on the datasets
that gin/studies/BUDGET.gin names; the same command goes on where it was stopped:
figure4: objectives by extractions; LN-ResNet against MLP over N.
figure5: diffusion steps; the vp, cosine and linear schedules.
figure6: the behaviour model's batch size.
figure7: diffusion models weighted by advantages, against none.
figure8: blocks, layer norm and dropout of the LN-ResNet.
figure9: finetuning over its steps, beside the same updates on the dataset alone.
table1: IDQL, IQL, filtered cloning and cloning.
table3: finetuning, before and after.
table4: the whole family on the same critic.
table5: mazes.
Hours of each: the head of gin/studies/cpu.gin. Other data:
  --gin_param "study.tasks={'mine': {'dataset': 'minari:...', 'gin_files': (...)}}" \
  --gin_param "figure7/study.on=('mine',)"
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags  # noqa: E402

from idql_tf import cli  # noqa: E402

FIGURES = ("figure1", "figure2", "figure3")
STUDIES = (
    *("figure4", "figure5", "figure6", "figure7", "figure8", "figure9"),
    *("table1", "table3", "table4", "table5"),
)
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
    cli.run(main, one_of=FIGURES + STUDIES)
