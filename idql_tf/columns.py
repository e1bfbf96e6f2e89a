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
# What stands in the column `extraction`: how an action is chosen (extraction.py).
EXTRACTIONS = ("argmax", "implicit", "softmax", "cem")
METRIC_COLUMNS = ("phase", "step", "seed", "name", "value")
