"""What an experiment leaves: a picture, its numbers, and what holds of the paper."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from idql_tf import files

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim of the paper, and whether it is so here.

    Attributes:
      text: what is claimed, with the measure.
      found: the numbers.
      holds: whether they agree.
    """

    text: str
    found: str
    holds: bool


@dataclasses.dataclass(frozen=True)
class Result:
    """What an experiment found: a figure, rows of one table, claims."""

    figure: Figure
    rows: Sequence[Row]
    claims: Sequence[Claim]


def write(result: Result, name: str, folder: pathlib.Path) -> str:
    """Writes NAME.png, NAME.csv and NAME.json into a folder.

    Returns:
      The claims as lines for the terminal.
    """
    with files.replacing(folder / f"{name}.png", "wb") as picture:
        result.figure.savefig(picture, format="png", dpi=150)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(result.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(result.rows)
    files.write_atomically(folder / f"{name}.csv", table.getvalue())
    verdict = [dataclasses.asdict(claim) for claim in result.claims]
    files.write_atomically(folder / f"{name}.json", json.dumps(verdict, indent=1))
    return "\n".join(
        f"{'holds' if claim.holds else 'DOES NOT HOLD':15}{claim.text}\n{'':15}"
        f"found: {claim.found}"
        for claim in result.claims
    )
