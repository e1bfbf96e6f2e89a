"""The one exception that means: the user gave us something we cannot use."""

import numbers
from typing import Any


class UserError(ValueError):
    """Bad usage, configuration or data.

    The message is one line naming what was found, what was expected and the
    cure. Launch scripts print it to stderr and exit with code 2.
    """


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuses what is no integer from `least` up.

    Raises:
      UserError: so.
    """
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or value < least:
        raise UserError(f"{name} is {value!r}; expected an integer >= {least}")
