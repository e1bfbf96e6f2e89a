"""What the rooms can do without: the method without TF-Agents, the offline half
without Reverb."""

import ast
import subprocess
import sys

from paths import REPOSITORY
from tiny_run import SMALL, check_refused, run_warm, script, train

PACKAGE = REPOSITORY / "idql_tf"
CORE = """
import importlib, pkgutil, sys
for room in ("nn", "critic", "behavior", "data", "training"):
    path = importlib.import_module(f"idql_tf.{room}").__path__
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"idql_tf.{room}.{module.name}")
import idql_tf.extraction
print(*{"tf_agents", "tensorflow_probability", "reverb", "ray"} & set(sys.modules))
"""
WITHOUT_REVERB = """
import runpy, sys
assert "reverb" not in sys.modules
sys.modules["reverb"] = None  # whoever imports it now gets an ImportError
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SMALLER = [
    *SMALL,
    "CRITIC_STEPS=100",
    "BEHAVIOR_STEPS=50",
    "Behavior.num_diffusion_steps=2",
    "evaluate.methods=(('argmax', 4),)",
    "train.evaluate_every=100",
    "train.episodes=1",
]


def test_the_method_needs_no_tf_agents_and_no_reverb():
    done = subprocess.run(
        [sys.executable, "-c", CORE], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_one_module_imports_reverb():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            else:
                continue
            if any(name.partition(".")[0] == "reverb" for name in names):
                found.add(str(path.relative_to(PACKAGE)))
    assert found == {"replay/library.py"}


def test_without_reverb_a_run_is_trained_and_finetuning_refused(maze, tmp_path):
    wrapper = tmp_path / "without_reverb.py"
    wrapper.write_text(WITHOUT_REVERB)
    run_dir = tmp_path / "run"

    def run(command):
        return run_warm([sys.executable, str(wrapper), *command[1:]])

    done = run(train(maze, run_dir, params=SMALLER))
    assert done.returncode == 0, done.stderr
    assert (run_dir / "report.html").exists() and "IDQL (N = 4)" in done.stdout
    flags = [f"--run_dir={run_dir}", "--mode=max", "--num_env_steps=10"]
    refused = run(script("finetune.py", *flags))
    check_refused(refused, "Reverb cannot be imported", "offline training")
