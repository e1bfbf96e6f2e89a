"""The one import of reverb, with a word of advice where there is none."""

from __future__ import annotations

from idql_tf.errors import UserError
from idql_tf.quiet import filtered_stderr

try:
    with filtered_stderr():
        import reverb
except ImportError as error:
    raise UserError(
        f"Reverb cannot be imported here ({str(error).splitlines()[0]}); finetuning "
        "needs dm-reverb 0.14, which exists for Linux x86-64 and Python 3.9 to 3.11 "
        "(pip install dm-reverb==0.14.0); offline training works without it"
    ) from error

__all__ = ["reverb"]
