"""What is raised where the user can do something about it."""

import math
import numbers
import re
from typing import Any


class UserError(ValueError):
    """Bad usage, configuration or data.

    The message is one line naming what was found, what was expected and the
    cure. Launch scripts print it to stderr and exit with code 2.
    """


class Failure(RuntimeError):
    """The work failed for a reason that the message tells: a server that is gone.

    Launch scripts print it to stderr and exit with code 1.
    """


def in_one_line(error: BaseException) -> str:
    """What a library's exception says, shortened; without TensorFlow's node names."""
    return re.sub(r"\{\{.*?\}\} ?", "", " ".join(str(error).split()))[:200]


def check_count(name: str, value: Any, least: int = 1, most: int = 2**31 - 1) -> None:
    """Refuses what is no integer from `least` to `most`.

    Raises:
      UserError: so.
    """
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or value < least:
        raise UserError(f"{name} is {value!r}; expected an integer >= {least}")
    if value > most:
        raise UserError(f"{name} is {value!s:.30}; expected an integer up to {most:,}")


def check_number(
    name: str, value: Any, least: float = 0.0, most: float = math.inf
) -> None:
    """Refuses what is no finite number from `least` to `most`.

    Raises:
      UserError: so.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not least <= value <= most or math.isinf(value):
        limit = "" if math.isinf(most) else f" to {most:g}"
        raise UserError(
            f"{name} is {value!r:.60}; expected a finite number from {least:g}{limit}"
        )


def check_seeds(name: str, seeds: Any) -> None:
    """Refuses what is no list of distinct integers from 0 up.

    Raises:
      UserError: so.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"{name} is {seeds!r:.60}; expected distinct seeds")
    for seed in seeds:
        check_count(f"a seed of {name}", seed, 0)
