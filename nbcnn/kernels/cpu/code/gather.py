"""Rows picked by indices: out[o, i] = x[o, indices[i]], rows of ``width`` floats.

Slots: 0 x, 1 indices, 2 out, 3 outer, 4 indices (how many), 5 extent of the axis, 6 width, 7 stride of
outer in x; addresses in bytes, the rest in floats. Negative indices count from the end; those outside
read an end of the axis (who calls has checked them: this only keeps a race from reading elsewhere).
"""

from __future__ import annotations

from collections.abc import Callable

from nbcnn.kernels.cpu.code.blocks import copy
from nbcnn.kernels.cpu.code.simd import arg, load_i32


def make(WORD: int, LANES: int) -> Callable[[int, int, int], None]:
    """Indices of ``WORD`` bytes, 4 or 8."""

    def gather(args, part, parts):
        x, indices, out, outer, count = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        extent, width, stride = arg(args, 5), arg(args, 6), arg(args, 7)
        for row in range(outer * count * part // parts, outer * count * (part + 1) // parts):
            o = row // count
            i = row - o * count
            index = arg(indices, i) if WORD == 8 else load_i32(indices + 4 * i)
            if index < 0:
                index += extent
            index = min(max(index, 0), extent - 1)
            copy(x + 4 * (o * stride + index * width), out + 4 * row * width, width, LANES)

    return gather
