"""What the compiler and the assembler make of the kernels: no GPU and no driver is needed.

``pip install nbcnn[cuda] nvidia-cuda-nvdisasm`` lets these run.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from every_instruction import IMMEDIATES, EveryInstruction

from nbcnn.debug import sass
from nbcnn.kernels.cuda.code.ptx import OPS
from nbcnn.kernels.cuda.configs import CONFIGS, depthwise, with_epilogue
from nbcnn.kernels.cuda.shapes import (
    ACTIVATIONS,
    KINDS,
    Config,
    ConvMma,
    ConvWgmma,
    Depthwise,
    Epilogue,
    SplitReduce,
)
from nbcnn.runtime.cuda import cubin
from nbcnn.runtime.cuda.ptx import Op

pytestmark = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install nbcnn[cuda]"
)

RELU_RES = Epilogue("relu", "before")
SOME = (
    "f16_conv_mma_32x64x64_w16x32s4__sm80",
    "f32_conv_mma_64x64x32_w32x32s4__sm80",
    "s8_conv_mma_64x64x128_w32x32s4_split__sm80",
    "f16_conv_wgmma_128x64x64_c2s8_im2col__sm90a",
    "f16_split_reduce__sm80",
    "f16_depthwise_3x3s1_w4__sm80",
)


def capability(config: Config) -> tuple[int, int]:
    return (9, 0) if config.arch == 90 else (8, 0)


def variant(name: str) -> Config:
    """The configuration as networks use it, with residual and ReLU."""
    config = CONFIGS[name]
    return config if isinstance(config, ConvMma) and config.split else with_epilogue(config, RELU_RES)


def registers(config: Config) -> int:
    """Registers a thread may have so that ``blocks`` fit on a multiprocessor, in steps of 8."""
    return min(255, 65536 // (config.threads * config.blocks) // 8 * 8)


def wanted(config: Config) -> dict[str, int]:
    """Instructions that one turn of the main loop must hold, by the tile."""
    kind = KINDS[config.kind]
    match config:
        case ConvMma():
            products = (config.wm // 16) * (config.wn // 8) * (config.row_bytes // 32)
            copies = (config.bm + config.bn) * config.row_bytes // 16 // config.threads
            loads = (config.wm // 16 + config.wn // 16) * (config.row_bytes // 32)
            found = {
                "IMMA" if kind.whole else "HMMA": products * (3 if config.kind == "f32" else 1),
                "LDSM": loads,
            }
            return found if config.pixels4 else {**found, "LDGSTS": copies}
        case ConvWgmma():
            products = 2 * 4 * (config.bm // config.consumers // 64)  # the first step, and the others
            products = 12 if config.kind == "f32" else products
            return {"IGMMA" if kind.whole else "HGMMA": products, "USETMAXREG": 2, "UTMALDG": 2}
        case SplitReduce():
            return {"LDG": 1, "STG": 1}
        case Depthwise():
            return {"FFMA": config.width * config.s * 16 // kind.size, "STG": config.width}


def check(config: Config, where: tuple[int, int]) -> None:
    built = cubin.build(config, where)
    assert built.spill_stores == built.spill_loads == built.stack == 0, "values spilt to local memory"
    assert built.registers <= registers(config)
    assert built.warnings == ()
    assert built.arch == cubin.architecture(where)
    if sass.disassembler() is None:
        pytest.skip("its instructions need nvdisasm: pip install nvidia-cuda-nvdisasm")
    counts = sass.instructions(built.code)
    for name, count in wanted(config).items():
        whole = name != "FFMA"  # the epilogue has some too
        assert counts[name] >= count and not (whole and counts[name] % count), (
            f"{counts[name]} {name}, not {count}"
        )
    assert not counts["LDL"] and not counts["STL"]


@pytest.mark.parametrize("name", SOME)
def test_some_configurations(name: str) -> None:
    check(variant(name), capability(CONFIGS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration(name: str) -> None:
    check(variant(name), capability(CONFIGS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("residual", ["none", "after"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "name", ["f16_conv_mma_128x128x64_w64x64s3__sm80", "s8_conv_wgmma_128x256x128_c2s4_im2col__sm90a"]
)
def test_every_epilogue(name: str, activation: str, residual: str) -> None:
    config = with_epilogue(CONFIGS[name], Epilogue(activation, residual))
    check(config, capability(config))


@pytest.mark.slow
@pytest.mark.parametrize("width", [4, 2, 1])
@pytest.mark.parametrize(
    "window",
    [
        (9, 9),
        (11, 11),
        (15, 15),
        (1, 3),
        (2, 2, 2),
        (3, 3, 4),
        (5, 5, 4),
        (1, 15, 4),
        (5, 5, 1, 2),
        (7, 7, 1, 3),
    ],
)
@pytest.mark.parametrize("kind", ["f16", "f32"])
def test_other_windows(kind: str, window: tuple[int, ...], width: int) -> None:
    if width < 4 or window[1] <= 7:
        check(with_epilogue(depthwise(kind, *window, **{"width": width}), Epilogue("silu", "before")), (8, 0))


@pytest.mark.slow
@pytest.mark.parametrize("where", [(8, 6), (8, 9), (9, 0), (10, 0), (12, 0)])
def test_other_gpus(where: tuple[int, int]) -> None:
    check(variant("f16_conv_mma_64x64x64_w32x32s4__sm80"), where)


@pytest.mark.parametrize("arch", [80, 90])
def test_every_instruction_assembles(arch: int) -> None:
    families = {name for name, entry in OPS.items() if not isinstance(entry, Op)}
    assert families == set(IMMEDIATES)
    built = cubin.build(EveryInstruction(arch), (arch // 10, 0))
    assert len(built.code) > 1000


def test_a_missing_fence_is_warned_of() -> None:
    """The check for warnings can fail: without wgmma.fence the assembler serialises the products."""
    config = CONFIGS["f16_conv_wgmma_128x64x64_c2s8_1x1__sm90a"]
    assert isinstance(config, ConvWgmma)
    fence = OPS["wgmma_fence"]
    OPS["wgmma_fence"] = Op("mov.f32 acc0, 0f00000000;", memory=False, arch=90)
    try:
        built = cubin.build(config, (9, 0))
    finally:
        OPS["wgmma_fence"] = fence
    assert any("C75" in line for line in built.warnings), built.warnings
