"""Pooling over windows and over whole images, NHWC.

Slots of ``make_window``: 0 in, 1 out, 2 images, 3 H, 4 W, 5 OH, 6 OW, 7 KH, 8 KW, 9 SH, 10 SW,
11 top, 12 left, 13 DH, 14 DW, 15 width, 16 in pitch, 17 out pitch, 18 in image stride, 19 out
image stride, 20 count mode, 21 and 22 height and width of the padded plane.

An average divides by the points of the window inside the image (count mode 0) or inside the padded
plane (count mode 1: count_include_pad, also where ceil_mode lets a window hang over the padding).

Slots of ``make_global``: 0 in, 1 out, 2 images, 3 rows (H * W), 4 width, 5 in pitch, 6 in image
stride, 7 out image stride.

Addresses are in bytes; strides and pitches in floats; ``width`` is a multiple of LANES.  Maxima
keep NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.emit import Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.simd import arg, literal

MAX, AVERAGE = 0, 1
"""Codes of ``OP``."""

_WIDE = 4
"""Vectors of a pixel that are reduced side by side: independent chains, and whole stretches of memory."""

_RUN = 64
"""Points of an image that are summed before they join the total: rounding errors grow with the sum
of the two lengths instead of their product."""


@intrinsic(prefer_literal=True)
def _reduce(tc, source, rows, row_step, cols, last_cols, col_step, to, scale, op, count, lanes):
    """Reduce a grid of points to one: ``count`` vectors wide, written to ``to``.

    Steps are in bytes; the last row has ``last_cols`` points.  Each row is reduced by itself before
    it joins the others.  An average is multiplied by ``scale`` (float32).
    """
    code, wide, n = literal(op, "OP"), literal(count, "count"), literal(lanes, "LANES")
    neutral = -np.inf if code == MAX else 0.0

    def join(v: V, w: V) -> V:
        return emit.maximum_nan(v, w) if code == MAX else v + w

    def emit_reduce(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, rows, row_step, cols, last_cols, col_step, to, scale = args[:8]
        last = bd.sub(rows, i64(1))
        start = [ir.Constant(emit.vector(n), [neutral] * n)] * wide

        def row(r: Scalar, total: list[Scalar]) -> list[Scalar]:
            def point(_: Scalar, carried: list[Scalar]) -> list[Scalar]:
                at, *acc = carried
                for i in range(wide):
                    x = emit.load(bd, bd.add(at, i64(4 * n * i)), n)
                    acc[i] = join(V(bd, acc[i]), x).v
                return [bd.add(at, col_step), *acc]

            here = bd.select(bd.icmp_signed("==", r, last), last_cols, cols)
            at = bd.add(source, bd.mul(r, row_step))
            acc = emit.loop(bd, i64(0), here, 1, [at, *start], point)[1:]
            return [join(V(bd, t), V(bd, x)).v for t, x in zip(total, acc, strict=True)]

        for i, value in enumerate(emit.loop(bd, i64(0), rows, 1, start, row)):
            x = V(bd, value)
            if code == AVERAGE:
                x = x * emit.splat(bd, scale, n)
            emit.store(bd.add(to, i64(4 * n * i)), x)
        return context.get_dummy_value()

    word = types.intp
    return types.void(*[word] * 7, types.float32, op, count, lanes), emit_reduce


def make_window(OP: int, LANES: int) -> Callable[[int, int, int], None]:
    """The maximum (OP 0) or average (OP 1) of each window."""

    def window(args, part, parts):
        source, out, images, H, W = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        OH, OW, KH, KW, SH, SW = (
            arg(args, 5), arg(args, 6), arg(args, 7), arg(args, 8), arg(args, 9), arg(args, 10)
        )  # fmt: skip
        top, left, DH, DW = arg(args, 11), arg(args, 12), arg(args, 13), arg(args, 14)
        size, pixel, out_pixel = 4 * arg(args, 15), 4 * arg(args, 16), 4 * arg(args, 17)
        in_image, out_image = 4 * arg(args, 18), 4 * arg(args, 19)
        count_padding, padded_h, padded_w = arg(args, 20) == 1, arg(args, 21), arg(args, 22)
        wide = size - size % (4 * LANES * _WIDE)
        row_step, col_step = DH * W * pixel, DW * pixel
        for line in range(images * OH * part // parts, images * OH * (part + 1) // parts):
            image = line // OH
            oh = line - image * OH
            # Windows are clipped to the image, so that no tap needs a check.
            y = oh * SH - top
            kh, kh_end = 0, KH
            if y < 0:
                kh = min(KH, (DH - 1 - y) // DH)
            if y + (KH - 1) * DH >= H:
                kh_end = max(kh, (H - y + DH - 1) // DH)
            rows = kh_end - kh
            from_row = source + image * in_image + (y + kh * DH) * W * pixel
            to = out + image * out_image + oh * OW * out_pixel
            for ow in range(OW):
                x = ow * SW - left
                kw, kw_end = 0, KW
                if x < 0:
                    kw = min(KW, (DW - 1 - x) // DW)
                if x + (KW - 1) * DW >= W:
                    kw_end = max(kw, (W - x + DW - 1) // DW)
                cols = kw_end - kw
                points = rows * cols
                if count_padding:  # an overhanging window ends where the padding does
                    down = min(KH, (padded_h - oh * SH + DH - 1) // DH)
                    points = down * min(KW, (padded_w - ow * SW + DW - 1) // DW)
                scale = np.float32(1.0) / np.float32(max(points, 1))
                at = from_row + (x + kw * DW) * pixel
                for c in range(0, wide, 4 * LANES * _WIDE):
                    _reduce(at + c, rows, row_step, cols, cols, col_step, to + c, scale, OP, _WIDE, LANES)
                for c in range(wide, size, 4 * LANES):
                    _reduce(at + c, rows, row_step, cols, cols, col_step, to + c, scale, OP, 1, LANES)
                to += out_pixel

    return window


def make_global(OP: int, LANES: int) -> Callable[[int, int, int], None]:
    """The maximum (OP 0) or average (OP 1) of each channel over an image."""

    def over_image(args, part, parts):
        source, out, images, points = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        vectors, step = arg(args, 4) // LANES, 4 * arg(args, 5)
        in_image, out_image = 4 * arg(args, 6), 4 * arg(args, 7)
        scale = np.float32(1.0) / np.float32(max(points, 1))
        rows = (points + _RUN - 1) // _RUN
        last = points - (rows - 1) * _RUN
        at, end = images * vectors * part // parts, images * vectors * (part + 1) // parts
        while at < end:
            image = at // vectors
            c = at - image * vectors
            x, to = source + image * in_image + 4 * LANES * c, out + image * out_image + 4 * LANES * c
            # 8: longer runs of a pixel; rows 4 KiB apart meet in one set of the cache (1024 channels: 1.35x).
            left = min(end - at, vectors - c)
            if left >= 8:
                _reduce(x, rows, _RUN * step, _RUN, last, step, to, scale, OP, 8, LANES)
                at += 8
            elif left >= 2:
                _reduce(x, rows, _RUN * step, _RUN, last, step, to, scale, OP, 2, LANES)
                at += 2
            else:
                _reduce(x, rows, _RUN * step, _RUN, last, step, to, scale, OP, 1, LANES)
                at += 1

    return over_image
