"""Exported models: a SavedModel any TensorFlow loads, TFLite, and their card."""

from idql_tf.quiet import filtered_stderr

# First of all, for what follows imports it in the order of the alphabet.
with filtered_stderr():
    import tf_agents.policies  # noqa: F401
