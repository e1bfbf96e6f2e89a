"""What `launch/reproduce.py` does."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence

from idql_tf import config, exits
from idql_tf.errors import UserError
from idql_tf.experiments import claims, figure1, figure2, figure3
from idql_tf.quiet import start_compiler
from idql_tf.runs import studies

# What each budget reads of gin/experiments, the last winning.
_FILES = {
    "paper": ("paper",),
    "cpu": ("paper", "cpu"),
    "quick": ("paper", "cpu", "quick"),
}


def reproduce(
    name: str,
    output: str,
    budget: str,
    gin_files: Sequence[str] = (),
    gin_params: Sequence[str] = (),
) -> int:
    """Runs an experiment and writes its picture, its numbers and its verdict.

    Args:
      name: 'figure1', 'figure2' or 'figure3', which train here, or one of
        `studies.STUDIES`, which trains runs.
      output: folder for NAME.png, NAME.csv and NAME.json; they are replaced. A study's
        runs are kept in NAME-runs, and gone on with; figure3's points in
        figure3-points.
      budget: 'quick', 'cpu' or 'paper': gin/experiments/BUDGET.gin, of a study
        gin/studies/BUDGET.gin.
      gin_files: read after it.
      gin_params: read last.

    Returns:
      The exit code: 0, whether the claims hold or not; 75 when a study was stopped by
      a signal after saving.

    Raises:
      UserError: the output is no folder, or data or a setting cannot be used.
      Failure: a run of a study failed.
    """
    folder = pathlib.Path(output)
    try:
        kept = folder / f"{name}-points"
        (kept if name == "figure3" else folder).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"--output cannot be made ({reason:.120}); name another"
        ) from error
    if name in studies.STUDIES:
        code = studies.run(name, folder, budget, gin_files, gin_params)
        if code != exits.DONE:
            return code
    else:
        files = [f"gin/experiments/{one}.gin" for one in _FILES[budget]]
        config.load([*files, *gin_files], gin_params)
        start_compiler()
        figures = {
            "figure1": figure1.run,
            "figure2": figure2.run,
            "figure3": functools.partial(figure3.run, kept),
        }
        print(claims.write(figures[name](), name, folder))
    print(f"{folder / name}.png, .csv and .json")
    return exits.DONE
