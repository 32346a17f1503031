"""What the compiler and the assembler make of plain kernels: no GPU and no driver is needed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from simt_kernels import kernels

from nbcnn.debug import sass
from nbcnn.runtime.cuda import cubin

pytestmark = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install nbcnn[cuda]"
)


QUICK = (
    "f32_conv_128x128x8_res__simt",
    "f32_conv_64x32x32s4_scalar_res__simt",
    "f32_rows_1x4t256_res__simt",
    "f16_depthwise_3s1_res__simt",
)


def check(name: str, capability: tuple[int, int]) -> None:
    config = kernels()[name]
    built = cubin.build(config, capability)
    assert built.spill_stores == built.spill_loads == built.stack == 0, "values spilt to local memory"
    assert built.registers * config.threads * config.blocks <= 65536
    assert built.warnings == ()
    if sass.disassembler() is None:
        pytest.skip("its instructions need nvdisasm: pip install nvidia-cuda-nvdisasm")
    counts = sass.instructions(built.code)
    assert not counts["LDL"] and not counts["STL"]
    assert not {"DADD", "DMUL", "DFMA", "DSETP"} & set(counts), "a Python number made it float64"


@pytest.mark.parametrize("name", QUICK)
def test_some_kernels(name: str) -> None:
    check(name, (8, 0))


@pytest.mark.slow
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=["sm_80", "sm_90a"])
@pytest.mark.parametrize("name", kernels())
def test_every_kernel(name: str, capability: tuple[int, int]) -> None:
    check(name, capability)
