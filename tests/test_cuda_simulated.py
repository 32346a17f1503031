"""Runs tests/cuda in Numba's simulator: in a process of its own, since Numba decides as it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_plain_kernels_in_the_simulator(record_property: pytest.RecordProperty) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/cuda"]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    summary = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    record_property("tests/cuda", summary)
    print(summary)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert " passed" in summary, summary
