"""TF-Agents agents."""

from idql_tf.quiet import filtered_stderr

with filtered_stderr():
    from idql_tf.agents.idql_agent import IdqlAgent, IdqlLossInfo

__all__ = ["IdqlAgent", "IdqlLossInfo"]
