"""Installs idql_tf; the exact set of versions that is tested is requirements.lock.

The lines below are pinned because an unpinned install resolves to a set that
fails at import: Reverb's newest wheel is built against TensorFlow 2.15 and
exists for Python up to 3.11. launch/ is used from a clone; gin/ is installed
within the package, for programs that import it.
"""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).resolve().parent

# launch/doctor.py reads these three.
PYTHON_REQUIRES = ">=3.10,<3.12"

INSTALL_REQUIRES = [
    "tensorflow==2.15.*",
    "tf-agents==0.19.*",
    "dm-reverb==0.14.*; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "numpy>=1.26,<2",
    "gymnasium[mujoco]>=1.0,<1.4",
    "mujoco>=3.1.6,<5",
    "minari[hdf5,hf]>=0.5.2,<0.6",
    "gymnasium-robotics>=1.4,<1.5",
    "gin-config>=0.5,<0.6",
    "absl-py>=2,<3",
    "rich>=13,<16",
    "matplotlib>=3.8,<4",
    "scipy>=1.11,<2",
    # tensorboard 2.15 and pygame 2.1 import pkg_resources, gone in setuptools 82.
    "setuptools<81",
    # tf-agents wants typing-extensions 4.5.0; on Python 3.10 newer releases want a
    # later one. pip 23.0, which Python 3.10 brings, does not find a set that fits
    # in minutes: upgrade pip first (26.3 takes half a minute).
    "cryptography<46; python_version < '3.11'",
]

EXTRAS_REQUIRE = {
    "gpu": ["tensorflow[and-cuda]==2.15.*"],
    "dev": [
        "pytest>=8,<10",
        "pytest-xdist>=3.5,<4",
        "hypothesis>=6.100,<7",
        "mypy>=1.10,<1.11",
        "ruff>=0.17,<0.18",
        "exceptiongroup<1.3; python_version < '3.11'",
    ],
    # The newest lines that resolve beside tf-agents' typing-extensions 4.5.0; left
    # open, pip searches for minutes.
    "cluster": ["ray[default]==2.55.*", "pydantic<2"],
}

GIN_FOLDERS = sorted(path.name for path in (ROOT / "gin").iterdir() if path.is_dir())
GIN_PACKAGES = ["idql_tf.gin", *(f"idql_tf.gin.{name}" for name in GIN_FOLDERS)]


def read_version() -> str:
    text = (ROOT / "idql_tf" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    if match is None:
        raise RuntimeError('idql_tf/__init__.py has no line __version__ = "..."')
    return match.group(1)


def read_description() -> str:
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="idql-tf",
    version=read_version(),
    description="Implicit diffusion Q-learning for TensorFlow, Keras and Reverb",
    long_description=read_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["idql_tf*"]) + GIN_PACKAGES,
    package_dir={"idql_tf.gin": "gin"},
    package_data={name: ["*.gin"] for name in GIN_PACKAGES},
    python_requires=PYTHON_REQUIRES,
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
)
