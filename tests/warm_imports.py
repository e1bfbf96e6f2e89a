"""What a process imports before tests fork scripts from it, quietly."""

from idql_tf.quiet import import_quietly

import_quietly()

import idql_tf.config  # noqa: E402, F401
import idql_tf.runs.export  # noqa: E402, F401
