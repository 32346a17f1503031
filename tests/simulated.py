"""Tests of the device in Numba's simulator, in a process of their own: Numba decides as it is imported.

They begin when a run that wants them has collected its tests, beside them, and are waited for in their turn.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

ROOT = Path(__file__).parent.parent
FILE = "test_cuda_simulated.py"

_started: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []


def start(marks: str) -> None:
    """Begin, with the tests that ``marks`` chooses (pytest's ``-m``)."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-m",
        marks,
        "--durations=10",
        "tests/cuda",
    ]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    output = TemporaryFile()  # noqa: SIM115 (open until `result` or `abandon`)
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    _started.append((child, output))


def result() -> tuple[int, str]:
    """Wait for the end: the exit code, and what was printed."""
    child, output = _started.pop()
    with output:
        code = child.wait()
        output.seek(0)
        return code, output.read().decode(errors="replace")


def abandon() -> None:
    """End a run that nobody waits for."""
    for child, output in _started:
        child.kill()
        child.wait()
        output.close()
    _started.clear()
