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
from fake_objects import ATTRIBUTES, CUresult

from nbcnn.runtime.cuda import device, encode, results, staging

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
COMPILER = shutil.which("cc") or shutil.which("gcc")


def _bindings() -> bool:
    try:
        return find_spec("cuda.bindings.driver") is not None
    except ModuleNotFoundError:
        return False


needs_bindings = pytest.mark.skipif(not _bindings(), reason="needs cuda-bindings: pip install nbcnn[cuda]")


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
@needs_bindings
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


@needs_bindings
def test_numbers_are_those_of_the_driver() -> None:
    """Those written out in the code and in its doubles; the module needs no driver to tell them."""
    from cuda.bindings import driver  # type: ignore[import-not-found]

    names = {"s8": "UINT8", "f16": "FLOAT16", "f32": "FLOAT32", "tf32": "FLOAT32", "bf16": "BFLOAT16"}
    assert encode._TYPES.keys() == names.keys()
    for kind, (code, _) in encode._TYPES.items():
        assert driver.CUtensorMapDataType[f"CU_TENSOR_MAP_DATA_TYPE_{names[kind]}"] == code
    assert encode._TAIL == (
        driver.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
        driver.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B,
        driver.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
        driver.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    )
    assert driver.CUstream_flags.CU_STREAM_NON_BLOCKING == device._NON_BLOCKING
    assert driver.CUevent_flags.CU_EVENT_DEFAULT == device._TIMING
    assert driver.CUevent_flags.CU_EVENT_DISABLE_TIMING == device._NO_TIMING == staging._NO_TIMING
    assert driver.CU_MEMHOSTALLOC_PORTABLE == staging._PORTABLE
    known = {int(code) for code in driver.CUresult}
    assert known >= results.STICKY and set(results._MEANINGS) <= known
    for code in CUresult:
        assert code == 999 or driver.CUresult[code.name] == code
    for name, number in ATTRIBUTES.items():
        assert driver.CUdevice_attribute[f"CU_DEVICE_ATTRIBUTE_{name}"] == number
    attributes = driver.CUfunction_attribute
    assert attributes.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES == 8
