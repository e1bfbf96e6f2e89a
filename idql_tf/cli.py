"""What every launch script shares: flags, gin files and how it is run."""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from absl import flags

from idql_tf import exits
from idql_tf.columns import EXTRACTIONS
from idql_tf.errors import UserError

if TYPE_CHECKING:
    from idql_tf.runs.online import Request

FLAGS = flags.FLAGS


def define_gin_flags() -> None:
    """Adds `--gin_file` and `--gin_param`, both repeatable."""
    flags.DEFINE_multi_string(
        "gin_file", [], "gin file read after gin/base.gin; repeatable, later wins."
    )
    flags.DEFINE_multi_string(
        "gin_param", [], "gin binding such as 'Expectile.tau=0.9'; repeatable."
    )


def define_extraction() -> flags.FlagHolder[str]:
    """Adds `--extraction`."""
    return flags.DEFINE_enum(
        "extraction",
        "argmax",
        EXTRACTIONS,
        "How an action is chosen.",
    )


def define_request() -> Callable[[], Request]:
    """Adds what every script of a finetuning takes; returns a function that reads it.

    --run_dir, --mode, --env_id, --gin_file and --gin_param.
    """
    run_dir = flags.DEFINE_string("run_dir", None, "A run of train.py.", required=True)
    mode = flags.DEFINE_enum(
        "mode",
        None,
        ["max", "imp"],
        "Which gin/finetune/MODE.gin is read.",
        required=True,
    )
    env_id = flags.DEFINE_string(
        "env_id", None, "MODULE:ID of the run's own environment, to import MODULE."
    )
    define_gin_flags()

    def read() -> Request:
        from idql_tf.runs.online import Request

        gin = FLAGS.gin_file, FLAGS.gin_param
        return Request(run_dir.value, mode.value, *gin, env_id.value)

    return read


def define_online_run() -> tuple[flags.FlagHolder, flags.FlagHolder]:
    """Adds --num_env_steps and --output_dir."""
    return (
        flags.DEFINE_integer(
            "num_env_steps",
            None,
            "Environment steps of each seed in all.",
            required=True,
        ),
        flags.DEFINE_string(
            "output_dir", None, "The new run; by default RUN_DIR-MODE."
        ),
    )


def define_server() -> flags.FlagHolder:
    """Adds --server."""
    return flags.DEFINE_string(
        "server", "localhost:8000", "HOST:PORT of the replay server."
    )


def load_gin() -> None:
    """Reads gin/base.gin, then `--gin_file`s, then `--gin_param`s.

    Raises:
      UserError: a file is missing, or a name or value in it is unknown.
    """
    from idql_tf import config

    config.load(FLAGS.gin_file, FLAGS.gin_param)


def parse_seeds(values: Sequence[str]) -> list[int]:
    """Reads the seeds of `--seeds 0,1,2`.

    Raises:
      UserError: one is no integer, negative or given twice, or there is none.
    """
    try:
        seeds = [int(value) for value in values]
    except ValueError:
        seeds = []
    in_range = all(0 <= seed < 2**31 for seed in seeds)
    if not seeds or not in_range or len(set(seeds)) < len(seeds):
        raise UserError(
            f"--seeds is '{','.join(values)}'; expected distinct integers from 0 "
            "up, such as 0,1,2"
        )
    return seeds


def parse_numbers(flag: str, values: Sequence[str] | None) -> tuple[float, ...] | None:
    """Reads the numbers of a list flag; None where it was not given.

    Raises:
      UserError: one is no finite number.
    """
    if values is None:
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise UserError(
            f"--{flag} is '{','.join(values)}'; expected finite numbers such as 0,0.5"
        )
    return numbers


def _parsed(arguments: Sequence[str]) -> list[str]:
    """What is left of the arguments once absl has taken the flags."""
    try:
        rest = FLAGS(arguments)
    except ValueError as error:  # such as --nobfloat16=1
        raise UserError(f"{error}; see --help") from error
    for module in (arguments[0], __name__):
        for flag in FLAGS.get_key_flags_for_module(module):
            flag.value = _with_home(flag.value)
    return rest


def _with_home(value: Any) -> Any:
    """A shell leaves the ~ of --run_dir=~/runs as it is."""
    if isinstance(value, list):
        return [_with_home(item) for item in value]
    is_path = isinstance(value, str) and value.startswith("~")
    return os.path.expanduser(value) if is_path else value


def run(
    main: Callable[..., int | None],
    one_of: Sequence[str] = (),
    import_libraries: bool = True,
) -> NoReturn:
    """Parses flags, runs `main` and exits with the code of contract C6.

    With `one_of`, one of these words must stand beside the flags; `main` is given it.
    Without `import_libraries`, `main` also runs where TensorFlow cannot be imported.

    0 done; 1 the work failed (one line where the reason is known, else a traceback);
    2 bad usage, configuration or data (one line on stderr); 75 stopped by SIGTERM
    after saving; 143 stopped by SIGTERM where nothing can be saved, with half-made
    files removed.
    """
    exits.open_standard_files()
    with exits.explained():
        code = _run(main, one_of, import_libraries)
        # Here, where it can be said that there is no room for it.
        sys.stdout.flush()
        sys.exit(code)


def _run(
    main: Callable[..., int | None], one_of: Sequence[str], import_libraries: bool
) -> int:
    if {"--help", "-h", "-help", "--helpshort"} & set(sys.argv[1:]):
        print(textwrap.dedent(sys.modules["__main__"].__doc__ or "").strip())
        print(f"\nflags:\n{FLAGS.main_module_help()}\n{FLAGS.module_help(__name__)}")
        return exits.DONE
    extra = _parsed(sys.argv)[1:]
    if one_of and not (len(extra) == 1 and extra[0] in one_of):
        raise UserError(
            f"found {' '.join(extra) or 'no name'!r}; expected one of "
            f"{', '.join(one_of)}; see --help"
        )
    if extra and not one_of:
        raise UserError(f"unexpected argument '{extra[0]}'; see --help")
    if import_libraries:
        from idql_tf.quiet import import_quietly

        with exits.ended_at_once():
            import_quietly()
    # Jobs that can save and resume take the signal over.
    exits.terminable()
    return main(*extra) or exits.DONE
