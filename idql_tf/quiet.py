"""Hides the chatter of the libraries below us and keeps their errors."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

# Lines that every TensorFlow 2.15, gym 0.23 and gymnasium-robotics import
# prints whether or not anything is wrong.
_HARMLESS = (
    "Unable to register cuDNN factory",
    "Unable to register cuFFT factory",
    "Unable to register cuBLAS factory",
    "Gym has been unmaintained since 2022",
    "Please upgrade to Gymnasium, the maintained drop-in",
    "See the migration guide at https://gymnasium.farama.org",
    "environment's reward functions were updated in v1.2.1",
)


@contextlib.contextmanager
def filtered_stderr() -> Iterator[None]:
    """Holds back stderr (C++ writers included), then prints all but chatter."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not any(text in line for text in _HARMLESS):
                    print(line, file=sys.stderr)


def import_quietly() -> None:
    """Imports the noisy libraries once, with their start-up chatter removed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.filterwarnings("ignore", module=r"gymnasium(_robotics)?(\..*)?$")
    warnings.filterwarnings("ignore", module=r"(minari|mujoco|glfw)(\..*)?$")
    with filtered_stderr():
        import gymnasium
        import gymnasium_robotics
        import tensorflow as tf

        gymnasium.register_envs(gymnasium_robotics)
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    tf.get_logger().setLevel("ERROR")
