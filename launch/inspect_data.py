"""Reports what is in a dataset and whether it can be trained on.

    python launch/inspect_data.py --dataset minari:D4RL/door/human-v2
    python launch/inspect_data.py --dataset d4rl:hopper_medium-v2.hdf5 \\
        --env_id Hopper-v5 --json report.json

Sources: minari:ID, d4rl:FILE.hdf5, ogbench:FILE.npz, npz:FILE.npz. The exit code
is 2, with one line saying why, if the data cannot be trained on.
"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from idql_tf import cli

_DATASET = flags.DEFINE_string(
    "dataset", None, "dataset with its source prefix.", required=True
)
_JSON = flags.DEFINE_string("json", None, "file to write the report to as JSON.")
_ENV_ID = flags.DEFINE_string(
    "env_id", None, "gymnasium ID or MODULE:ID, where the data record no environment."
)
cli.define_gin_flags()


def main() -> None:
    cli.load_gin()
    from idql_tf import data
    from idql_tf.data import inspection

    transitions = data.load(_DATASET.value, env_id=_ENV_ID.value, validate=False)
    report = inspection.inspect(transitions, _ENV_ID.value)
    print(inspection.format_report(report))
    if _JSON.value:
        inspection.write(report, _JSON.value)
    inspection.require_trainable(report)


if __name__ == "__main__":
    cli.run(main)
