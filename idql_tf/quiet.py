"""Hides the chatter of the libraries below us and keeps their errors."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

# Lines that TensorFlow 2.15, gym 0.23, gymnasium-robotics and Reverb print at import
# or first use whether or not anything is wrong.
_HARMLESS = (
    "Unable to register cuDNN factory",
    "Unable to register cuFFT factory",
    "Unable to register cuBLAS factory",
    "Gym has been unmaintained since 2022",
    "Please upgrade to Gymnasium, the maintained drop-in",
    "See the migration guide at https://gymnasium.farama.org",
    "environment's reward functions were updated in v1.2.1",
    "All log messages before absl::InitializeLog()",
    "Compiled cluster using XLA!",
    "SetPriority unimplemented for this stream",
    "Sampler and server are owned by the same process",
)


@contextlib.contextmanager
def filtered_stderr(only_on_error: bool = False) -> Iterator[None]:
    """Holds back stderr (C++ writers included), then prints all but chatter.

    With `only_on_error` it prints nothing unless an exception passes through: for
    compilers that report on what they do.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    wanted = True
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            wanted = not only_on_error
        except (KeyboardInterrupt, SystemExit):
            wanted = not only_on_error
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if wanted and not any(text in line for text in _HARMLESS):
                    print(line, file=sys.stderr)


def import_quietly() -> None:
    """Imports the noisy libraries once, with their start-up chatter removed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    warnings.filterwarnings("ignore", module=r"gymnasium(_robotics)?(\..*)?$")
    warnings.filterwarnings("ignore", module=r"(minari|mujoco|glfw)(\..*)?$")
    with filtered_stderr():
        import gymnasium
        import gymnasium_robotics
        import tensorflow as tf

        gymnasium.register_envs(gymnasium_robotics)
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    tf.get_logger().setLevel("ERROR")


def start_compiler() -> None:
    """Lets XLA say its first words here, unheard.

    It says them again for every stream it opens, one for each program that runs
    beside others: hence several at once, long enough to overlap.
    """
    import tensorflow as tf

    compiled = tf.function(tf.sin, jit_compile=True)
    beside = tf.function(lambda xs: [compiled(x) for x in tf.unstack(xs)])
    with filtered_stderr():
        beside(tf.ones([2 * (os.cpu_count() or 1), 1 << 20]))
