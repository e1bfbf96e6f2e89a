"""Whether MuJoCo, TensorFlow and Reverb do here what they are for."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import textwrap

from idql_tf.doctor.packages import INSTALL
from idql_tf.errors import Failure, UserError

ON_CPU = "everything runs on the CPU"
_DEADLINE_SECONDS = 20.0
_RENDER_SECONDS = 30.0
_TOLERANCE = 1e-5
_RENDER = """
import mujoco

body = "<light pos='0 0 3'/><geom size='.3'/>"
model = mujoco.MjModel.from_xml_string(
    f"<mujoco><worldbody>{body}</worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().std() > 0, "the picture is empty"
"""


def simulation() -> str:
    """MuJoCo through gymnasium and gymnasium-robotics."""
    import numpy as np

    from idql_tf.environments import factory

    env = factory.make("PointMaze_UMaze-v3")
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(20):
        observation, reward, *_ = env.step(env.action_space.sample())
    if not np.isfinite([*observation["observation"], reward]).all():
        raise UserError(f"20 steps ended in {observation}; {INSTALL}")
    env.close()
    return "20 steps of PointMaze_UMaze-v3"


def rendering() -> str:
    """A picture without a screen, in the way MUJOCO_GL says or in another."""
    now = os.environ.get("MUJOCO_GL", "")
    said = now or "unset"
    failed = _render(now)
    if not failed:
        return f"a picture without a screen (MUJOCO_GL is {said})"
    for other in ("egl", "osmesa"):
        if other != now and not _render(other):
            raise UserError(
                f"no picture with MUJOCO_GL {said} ({failed}); export MUJOCO_GL={other}"
            )
    raise UserError(
        f"no picture with MUJOCO_GL {said}, egl or osmesa ({failed}); apt install "
        "libegl1, then export MUJOCO_GL=egl, or libosmesa6 and osmesa"
    )


def _render(backend: str) -> str:
    """Why a picture cannot be made; nothing if it can."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RENDER],
            env=os.environ | {"MUJOCO_GL": backend},
            capture_output=True,
            text=True,
            timeout=_RENDER_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_RENDER_SECONDS:g} s"
    if not done.returncode:
        return ""
    last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return textwrap.shorten(last[0], 80, placeholder=" ...")


def compiled_step() -> str:
    """A gradient step that XLA compiled, beside the same one as it is written."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    inputs = tf.random.stateless_normal([64, 32], [0, 0])
    weights = tf.random.stateless_normal([32, 16], [0, 1])

    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = tf.reduce_mean(tf.tanh(inputs @ weights) ** 2)
        return weights - tape.gradient(loss, weights)

    try:
        compiled = tf.function(step, jit_compile=True)()
    except tf.errors.OpError as error:
        raise UserError(
            f"XLA cannot compile here ({' '.join(str(error).split()):.160}); on a GPU "
            "it needs ptxas and libdevice: pip install '.[gpu]', or train with "
            "--gin_param IdqlLearner.xla=False"
        ) from error
    difference = float(tf.reduce_max(tf.abs(compiled - step())))
    if not difference < _TOLERANCE:
        raise UserError(
            f"a compiled step differs by {difference:.2g} from the same one "
            f"uncompiled, expected < {_TOLERANCE:g}; train with --gin_param "
            "IdqlLearner.xla=False"
        )
    return f"a compiled step differs by {difference:.1g} from the same one uncompiled"


def gpu() -> str:
    """The GPUs that TensorFlow uses, or why it uses none."""
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    build = tf.sysconfig.get_build_info()
    if found:
        details = map(tf.config.experimental.get_device_details, found)
        names = ", ".join(x.get("device_name", "GPU") for x in details)
        return f"{names}; TensorFlow is built for CUDA {build['cuda_version']}"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden in ("", "-1"):
        return f"hidden by CUDA_VISIBLE_DEVICES={hidden!r}; {ON_CPU}"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return f"no NVIDIA driver is here (libcuda.so.1); {ON_CPU}"
    if not build["is_cuda_build"]:
        raise UserError(f"this TensorFlow is built without CUDA; {INSTALL}")
    wanted = f"CUDA {build['cuda_version']} and cuDNN {build['cudnn_version']}"
    cure = "pip install -c requirements.lock '.[gpu]'"
    if importlib.util.find_spec("nvidia"):
        cure = "its messages tell why: TF_CPP_MIN_LOG_LEVEL=0"
    raise UserError(
        f"a driver is here, but TensorFlow, which wants {wanted}, finds no GPU; {cure}"
    )


def saved_model() -> str:
    """A SavedModel that is written and read again."""
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable([[1.0, -2.0]])
    signature = tf.TensorSpec([None, 1], tf.float32)
    module.call = tf.function(lambda x: x @ module.kernel, input_signature=[signature])
    inputs = tf.constant([[3.0], [0.5]])
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder)
        loaded = tf.saved_model.load(folder)
    answer = loaded.call(inputs)
    if not bool(tf.reduce_all(answer == module.call(inputs))):
        raise UserError(f"a saved model answers {answer.numpy()}; {INSTALL}")
    return "a model that was saved and loaded answers as before"


def replay() -> str:
    """A transition's way through a Reverb server that listens to this machine alone."""
    import numpy as np

    from idql_tf.replay import layout, server, tables
    from idql_tf.replay.feed import Feed
    from idql_tf.replay.library import reverb
    from idql_tf.replay.writer import TransitionWriter

    sizes = layout.Sizes(
        num_seeds=1, observation_size=3, action_size=2, num_environments=1
    )
    sent = {
        name: np.full(spec.shape, 7, spec.dtype.as_numpy_dtype)
        for name, spec in tables.signature(sizes).items()
    }
    with server.serve(tables.online_tables(sizes, 10, 10)) as running:
        client = reverb.Client(f"localhost:{running.port}")
        option = socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16
        devices = {s.getsockopt(*option) for s in server.listening(running.port)}
        try:
            writer = TransitionWriter(client, _DEADLINE_SECONDS)
            writer.write(sent)
            writer.flush()
            (taken,) = Feed(client, _DEADLINE_SECONDS).wait(1)
            writer.close()
        except Failure as error:
            raise UserError(
                f"{error}; where a proxy is set, also export no_proxy=localhost"
            ) from error
    if any(not np.array_equal(sent[name], taken[name]) for name in sent):
        raise UserError(f"Reverb gave {taken} for {sent}; {INSTALL}")
    if {device.rstrip(b"\0") for device in devices} != {b"lo"}:
        raise UserError(
            f"the server listens on {devices}, expected the loopback alone; keep its "
            "port behind a firewall"
        )
    return "a transition went through a server that listens on localhost alone"
