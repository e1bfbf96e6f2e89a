"""TF-Agents policies."""

from idql_tf.quiet import filtered_stderr

with filtered_stderr():
    from idql_tf.policies.idql_policy import IdqlPolicy, PolicyInfo

__all__ = ["IdqlPolicy", "PolicyInfo"]
