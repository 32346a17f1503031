"""Planes divided into the pixels that filters of stride 2 meet together: even and odd rows and columns.

Afterwards a filter of stride 2 is one of stride 1 over smaller planes.

Argument block (addresses in bytes; pitches and strides in float elements):

=  ==================================================================================
0  in: first image      1  out: first image     2  images     3  C     4  H     5  W
6  in plane pitch       7  in image stride
8  out plane pitch      9  out image stride
10 phases: how many     11 int32 [phases]: 2 * (row is odd) + (column is odd)
=  ==================================================================================

``out`` holds, for each channel, a plane of ceil(H/2) x ceil(W/2) for each phase. Where H or W is odd, the
last row or column of an odd phase is not written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.emit import I32, Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.simd import arg, literal, load_i32


@intrinsic(prefer_literal=True)
def _every_other(tc, source, to, n, lanes):
    """Copy floats 0, 2, 4... from ``source``: min(n, LANES) of them, and read none past the last."""
    count = literal(lanes, "LANES")

    def emit_copy(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, to, n, _ = args
        last = bd.sub(bd.shl(n, i64(1)), i64(1))
        low = emit.load_first(bd, source, last, count)
        high = emit.load_first(bd, bd.add(source, i64(4 * count)), bd.sub(last, i64(count)), count)
        picks = ir.Constant(ir.VectorType(I32, count), list(range(0, 2 * count, 2)))
        emit.store_first(to, V(bd, bd.shuffle_vector(low.v, high.v, picks)), n)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, lanes), emit_copy


def make(LANES: int) -> Callable[[int, int, int], None]:
    """The division of planes."""

    def phases(args, part, parts):
        source, out, images, channels = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        height, width = arg(args, 4), arg(args, 5)
        pitch, image_stride = 4 * arg(args, 6), 4 * arg(args, 7)
        out_pitch, out_image = 4 * arg(args, 8), 4 * arg(args, 9)
        count, wanted = arg(args, 10), arg(args, 11)
        across = (width + 1) // 2
        total = images * channels * count
        for plane in range(total * part // parts, total * (part + 1) // parts):
            channel = plane // count
            image = channel // channels
            phase = load_i32(wanted + 4 * (plane - channel * count))
            odd_row, odd_column = phase // 2, phase % 2
            at = source + image * image_stride + (channel - image * channels) * pitch
            to = out + image * out_image + (plane - image * channels * count) * out_pitch
            pixels = (width - odd_column + 1) // 2
            for y in range((height - odd_row + 1) // 2):
                line = at + 4 * ((2 * y + odd_row) * width + odd_column)
                for x in range(0, pixels, LANES):
                    _every_other(line + 8 * x, to + 4 * (y * across + x), pixels - x, LANES)

    return phases
