"""Pixels made of other pixels by separable tables: padding, resizing. NHWC, vectors of channels.

``make_plane`` makes point (oh, ow) of a plane from TAPS rows and TAPS columns (1: copied, 2: weighted):

slots: 0 in, 1 out, 2 images, 3 OH, 4 OW, 5 rows, 6 row weights, 7 columns, 8 column weights, 9 width,
10 out pitch, 11 in image stride, 12 out image stride, 13 fill (float32 bits)

rows is int32 [OH, TAPS], columns int32 [OW, TAPS]: offsets in floats, or OUTSIDE in the first place for
points that are ``fill``. Weights are float32 of the same shapes (not read for TAPS 1).

``make_axis`` does one axis with any number of taps: y[before, o, after] = sum of w[o, t] x[before,
index[o, t], after]:

slots: 0 in, 1 out, 2 before, 3 points of the result, 4 after, 5 taps, 6 index int32 [points, taps], 7
weights float32 [points, taps], 8 width, 9 in stride of before, 10 of after, 11 out stride of before,
12 of the points, 13 of after, 14 fill

Addresses in bytes, strides and width in floats; width is a multiple of LANES.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nbcnn.kernels.cpu.code.simd import arg, argf, load_f32, load_i32, vfma, vload, vset, vstore, vzero

OUTSIDE = int(np.iinfo(np.int32).min)
"""Entry of a table for a point that no pixel makes."""


def make_plane(TAPS: int, LANES: int) -> Callable[[int, int, int], None]:
    """One or four pixels for each point of a plane."""

    def plane(args, part, parts):
        source, out, images, OH, OW = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        rows, row_weights, columns, column_weights = arg(args, 5), arg(args, 6), arg(args, 7), arg(args, 8)
        size, pixel = 4 * arg(args, 9), 4 * arg(args, 10)
        in_image, out_image, fill = 4 * arg(args, 11), 4 * arg(args, 12), vset(argf(args, 13), LANES)
        for line in range(images * OH * part // parts, images * OH * (part + 1) // parts):
            image = line // OH
            oh = line - image * OH
            row = load_i32(rows + 4 * TAPS * oh)
            top = source + image * in_image + 4 * row
            to = out + image * out_image + oh * OW * pixel
            if TAPS == 1:
                for ow in range(OW):
                    column = load_i32(columns + 4 * ow)
                    if row == OUTSIDE or column == OUTSIDE:
                        for i in range(0, size, 4 * LANES):
                            vstore(to + i, fill)
                    else:
                        at = top + 4 * column
                        for i in range(0, size, 4 * LANES):
                            vstore(to + i, vload(at + i, LANES))
                    to += pixel
            else:
                bottom = source + image * in_image + 4 * load_i32(rows + 8 * oh + 4)
                upper = vset(load_f32(row_weights + 8 * oh), LANES)
                lower = vset(load_f32(row_weights + 8 * oh + 4), LANES)
                for ow in range(OW):
                    left, right = load_i32(columns + 8 * ow), 4 * load_i32(columns + 8 * ow + 4)
                    if row == OUTSIDE or left == OUTSIDE:
                        for i in range(0, size, 4 * LANES):
                            vstore(to + i, fill)
                    else:
                        left *= 4
                        p = vset(load_f32(column_weights + 8 * ow), LANES)
                        q = vset(load_f32(column_weights + 8 * ow + 4), LANES)
                        for i in range(0, size, 4 * LANES):
                            x = vfma(vload(top + right + i, LANES), q, vload(top + left + i, LANES) * p)
                            y = vfma(vload(bottom + right + i, LANES), q, vload(bottom + left + i, LANES) * p)
                            vstore(to + i, vfma(y, lower, x * upper))
                    to += pixel

    return plane


def make_axis(LANES: int) -> Callable[[int, int, int], None]:
    """A weighted sum along one axis."""

    def axis(args, part, parts):
        source, out, before, points, after = (
            arg(args, 0),
            arg(args, 1),
            arg(args, 2),
            arg(args, 3),
            arg(args, 4),
        )
        taps, index, weights, size = arg(args, 5), arg(args, 6), arg(args, 7), 4 * arg(args, 8)
        in_before, in_after = 4 * arg(args, 9), 4 * arg(args, 10)
        out_before, out_point, out_after = 4 * arg(args, 11), 4 * arg(args, 12), 4 * arg(args, 13)
        fill = vset(argf(args, 14), LANES)
        wide = size - size % (16 * LANES)
        for unit in range(before * points * part // parts, before * points * (part + 1) // parts):
            outer = unit // points
            point = unit - outer * points
            table, factors = index + 4 * taps * point, weights + 4 * taps * point
            inside = load_i32(table) != OUTSIDE
            for k in range(after):
                at = source + outer * in_before + k * in_after
                to = out + outer * out_before + point * out_point + k * out_after
                if not inside:
                    for i in range(0, size, 4 * LANES):
                        vstore(to + i, fill)
                    continue
                for i in range(0, wide, 16 * LANES):
                    a, b, c, d = vzero(LANES), vzero(LANES), vzero(LANES), vzero(LANES)
                    for t in range(taps):
                        x = at + i + 4 * load_i32(table + 4 * t)
                        w = vset(load_f32(factors + 4 * t), LANES)
                        a = vfma(vload(x, LANES), w, a)
                        b = vfma(vload(x + 4 * LANES, LANES), w, b)
                        c = vfma(vload(x + 8 * LANES, LANES), w, c)
                        d = vfma(vload(x + 12 * LANES, LANES), w, d)
                    vstore(to + i, a)
                    vstore(to + i + 4 * LANES, b)
                    vstore(to + i + 8 * LANES, c)
                    vstore(to + i + 12 * LANES, d)
                for i in range(wide, size, 4 * LANES):
                    a = vzero(LANES)
                    for t in range(taps):
                        x = at + i + 4 * load_i32(table + 4 * t)
                        a = vfma(vload(x, LANES), vset(load_f32(factors + 4 * t), LANES), a)
                    vstore(to + i, a)

    return axis
