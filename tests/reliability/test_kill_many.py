"""The kill script with few kills; by hand it takes hundreds."""

import subprocess
import sys

import pytest
from paths import REPOSITORY


@pytest.mark.slow
def test_runs_survive_kills_at_random_moments():
    script = REPOSITORY / "tests" / "reliability" / "kill_many.py"
    command = [sys.executable, str(script), "--kills=6", "--seed=11"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tried    6  survived    6" in done.stdout
