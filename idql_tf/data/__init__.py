"""Datasets of any source as one in-memory form, `Transitions`."""

from idql_tf.data.loading import load
from idql_tf.data.transitions import DatasetInfo, Transitions

__all__ = ["DatasetInfo", "Transitions", "load"]
