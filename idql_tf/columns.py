"""Columns of the CSV files in a run directory, for who writes and who reads."""

from __future__ import annotations

EVALUATION_COLUMNS = (
    "phase",
    "step",
    "seed",
    "extraction",
    "num_candidates",
    "episode",
    "return",
    "length",
    "normalized_score",
    "success",
)
METRIC_COLUMNS = ("phase", "step", "seed", "name", "value")
