"""What the benchmark runs on, and how much of it others take meanwhile."""

from __future__ import annotations

import datetime
import os
import pathlib
import platform
import time
from importlib import metadata
from typing import Any

import tensorflow as tf

import idql_tf

_PACKAGES = ("tensorflow", "keras", "numpy")


def describe() -> dict[str, Any]:
    """Returns the device, versions, threads, numeric switches and date."""
    threads = tf.config.threading
    gpus = tf.config.list_physical_devices("GPU")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"),
        "device": "GPU" if tf.config.list_logical_devices("GPU") else "CPU",
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
            for gpu in gpus
        ],
        "processor": _processor(),
        "cores": num_cores(),
        # 0: TensorFlow takes one thread per core.
        "intra_op_threads": threads.get_intra_op_parallelism_threads(),
        "inter_op_threads": threads.get_inter_op_parallelism_threads(),
        "one_dnn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {
            "idql_tf": idql_tf.__version__,
            **{name: metadata.version(name) for name in _PACKAGES},
        },
    }


def num_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class OtherLoad:
    """Cores that other processes keep busy from construction on (Linux)."""

    def __init__(self) -> None:
        self._start = (time.perf_counter(), _busy_seconds(), time.process_time())

    def cores(self) -> float | None:
        """Mean number of cores taken by others so far; None where unknown."""
        start, busy, own = self._start
        now = _busy_seconds()
        if busy is None or now is None:
            return None
        others = (now - busy) - (time.process_time() - own)
        return max(others, 0.0) / (time.perf_counter() - start)


def _busy_seconds() -> float | None:
    """Seconds that all cores together have worked, for us or another guest."""
    path = pathlib.Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, _, _, irq, soft, steal = map(
        int, path.read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
