"""Plain kernels that must compile without local memory: each family adds those whose inner loop is hot."""

from __future__ import annotations

import simple_kernels
from move_kernels import moves
from pointwise_kernels import pointwise
from reducing_kernels import reducing

from nbcnn.kernels.cuda import simt_depthwise
from nbcnn.kernels.cuda.simt_product import kernel_of, rows_kernel
from nbcnn.kernels.cuda.simt_tiles import TILES
from nbcnn.kernels.cuda.simt_window import POINT, Axis, Window
from nbcnn.kernels.epilogue import BEFORE, Epilogue
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import STORED, CudaTarget

KINDS = ("f32", "f16", "bf16")
TARGETS = {
    kind: CudaTarget("a GPU", (9, 0), 132, 228 << 10, precision=precision)
    for precision, kind in STORED.items()
}
RELU = Epilogue("clamp", 0.0, residual="r", order=BEFORE)


SILU = Epilogue("silu")


def products() -> list[Simt]:
    """Matrix products: every tile once, every way to read."""
    here = TARGETS["f32"]
    found = [kernel_of(tile, 2, True, RELU, here) for tile in TILES]
    found += [kernel_of(tile, 2, False, RELU, here) for tile in TILES if tile.fits(False, True)]
    found += [kernel_of(TILES[0], axes, True, Epilogue("hard_swish"), here) for axes in (0, 3)]
    found += [rows_kernel(n, 4096, 4096, tail, here)[0] for n in (1, 2, 4, 8) for tail in (RELU, SILU)]
    return found + [kernel_of(TILES[1], 2, True, SILU, TARGETS[kind]) for kind in ("f16", "bf16")]


def depthwise() -> list[Simt]:
    """Every window with code of its own, and the kernel of all others."""
    found = []
    for size, stride, vector, tail in (
        *((size, stride, True, RELU) for size in (3, 5, 7) for stride in (1, 2, 3)),
        *((3, 1, False, RELU), (3, 1, True, SILU)),
    ):
        axis = Axis(56, 56, size, stride, 1, size // 2)
        window = Window((POINT, axis, axis), 1, 1, 64)
        found += [simt_depthwise.kernel_of(window, vector, tail, TARGETS[kind]) for kind in KINDS]
    return found


def kernels() -> dict[str, Simt]:
    """By name."""
    found = [*(simple_kernels.scale(kind) for kind in KINDS), simple_kernels.narrow("bf16")]
    found += [*products(), *depthwise(), *pointwise(TARGETS), *moves(TARGETS), *reducing(TARGETS)]
    return {kernel.name: kernel for kernel in found}
