"""The tests of devices once more, through cuda.bindings: in a child process, on a libcuda.so.1 of our own.

It is compiled from stub_libcuda.c. What real hardware does with these calls, no stub can tell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
COMPILER = shutil.which("cc") or shutil.which("gcc")


def _bindings() -> bool:
    try:
        return find_spec("cuda.bindings.driver") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
@pytest.mark.skipif(not _bindings(), reason="needs cuda-bindings: pip install nbcnn[cuda]")
def test_on_a_stub_of_libcuda(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    library = tmp_path / "libcuda.so.1"
    source = HERE / "stub_libcuda.c"
    command = [COMPILER, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-lpthread"]
    subprocess.run(list(map(str, command)), check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "NBCNN_TEST_STUB_LIBCUDA": "1"}
    tests = [str(HERE / f"test_{name}.py") for name in ("device", "device_errors")]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    summary = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    record_property("on the stub", summary)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "100%" in done.stdout or " passed" in summary
