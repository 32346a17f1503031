"""Planes divided into the pixels that filters of stride 2 meet together: even and odd rows and columns.

Afterwards a filter of stride 2 is one of stride 1 over smaller planes.

Argument block (addresses in bytes; pitches and strides in float elements):

=  ==================================================================================
0  in: first image      1  out: first image     2  images     3  C     4  H     5  W
6  in plane pitch       7  in image stride
8  out plane pitch      9  out image stride
10 phases: how many     11 int32 [4]: which of them is 2 * (row is odd) + (column is odd), or -1
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
def _divide(tc, source, even, odd, count, whole, lanes):
    """Floats 0, 2, 4... from ``source`` to ``even``, the others to ``odd``; an address of 0: nowhere.

    ``count`` floats, at most 2 * LANES; with ``whole`` all 2 * LANES are read and written instead, which is
    faster: the caller vouches that they are there, and that what is too much is written over.
    """
    n = literal(lanes, "LANES")

    def emit_divide(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, even, odd, count, whole, _ = args
        high = bd.add(source, i64(4 * n))

        def parts(x: V, y: V, put: Callable[[Scalar, V, int], None]) -> None:
            for to, first in ((even, 0), (odd, 1)):
                picks = ir.Constant(ir.VectorType(I32, n), list(range(first, 2 * n, 2)))
                with bd.if_then(bd.icmp_signed("!=", to, i64(0))):
                    put(to, V(bd, bd.shuffle_vector(x.v, y.v, picks)), first)

        def exactly(to: Scalar, x: V, first: int) -> None:
            number = bd.ashr(bd.sub(bd.add(count, i64(1)), i64(first)), i64(1))
            emit.store_first(to, x, number)

        with bd.if_else(bd.icmp_signed("!=", whole, i64(0)), likely=True) as (fast, careful):
            with fast:
                parts(emit.load(bd, source, n), emit.load(bd, high, n), lambda to, x, _: emit.store(to, x))
            with careful:
                low = emit.load_first(bd, source, count, n)
                parts(low, emit.load_first(bd, high, bd.sub(count, i64(n)), n), exactly)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5, lanes), emit_divide


def make(LANES: int) -> Callable[[int, int, int], None]:
    """The division of planes."""

    def phases(args, part, parts):
        source, out, images, channels = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        height, width = arg(args, 4), arg(args, 5)
        pitch, image_stride = 4 * arg(args, 6), 4 * arg(args, 7)
        out_pitch, out_image = 4 * arg(args, 8), 4 * arg(args, 9)
        count, slots = arg(args, 10), arg(args, 11)
        across = (width + 1) // 2
        end = 4 * ((height + 1) // 2) * across
        for plane in range(images * channels * part // parts, images * channels * (part + 1) // parts):
            image = plane // channels
            c = plane - image * channels
            at = source + image * image_stride + c * pitch
            to = out + image * out_image + c * count * out_pitch
            for y in range(height):
                odd_row = y % 2
                first, second = load_i32(slots + 8 * odd_row), load_i32(slots + 8 * odd_row + 4)
                if first < 0 and second < 0:
                    continue
                for x in range(0, width, 2 * LANES):
                    read, written = 4 * (y * width + x), 4 * (y // 2 * across + x // 2)
                    # Whole vectors where the rows below write over what is too much of this one.
                    whole = written + 4 * LANES <= end - 4 * across and read + 8 * LANES <= pitch
                    even = to + first * out_pitch + written if first >= 0 else 0
                    odd = to + second * out_pitch + written if second >= 0 else 0
                    _divide(at + read, even, odd, width - x, 1 if whole else 0, LANES)

    return phases
