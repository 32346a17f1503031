"""Elementwise kernels over rows of channels: ``act(a op b)``, ``act(a)``, ``act(a * scale + shift)``.

Slots are addresses in bytes, pitches in float elements.  A row is one pixel (NHWC) of ``width``
floats, a multiple of LANES.  The share of a part is a contiguous range of vectors; rows without
gaps between them count as one long row, so that narrow images do not pay for a loop per pixel.

==========  =============  =============  ==============
slot        make_binary    make_unary     make_affine
==========  =============  =============  ==============
0           a              a              a
1           b              out            out
2           out            rows           rows
3           rows           width          width
4           width          a pitch        a pitch
5           a pitch        out pitch      out pitch
6           b pitch        act a          scale [width]
7           out pitch      act b          shift [width]
8           b_div                         act a
9           act a                         act b
10          act b
==========  =============  =============  ==============

Row r of ``a`` meets row ``r // b_div`` of ``b``: 1 pairs equal shapes, H*W gives each image one row
(squeeze and excite), anything larger than ``rows`` gives all of them row 0.  ``act a`` and ``act b``
are the activation's arguments, float32 bits.  All kernels may run in place.
"""

from __future__ import annotations

from collections.abc import Callable

from nbcnn.kernels.cpu.code.activations import activate
from nbcnn.kernels.cpu.code.simd import arg, argf, vfma, vload, vstore

ADD, MUL = 0, 1
"""Codes of ``OP`` in :func:`make_binary`."""


def make_binary(OP: int, ACT: int, LANES: int) -> Callable[[int, int, int], None]:
    """out = act(a op b), op one of ADD and MUL."""

    def binary(args, part, parts):
        a, b, out, rows, vectors = (
            arg(args, 0),
            arg(args, 1),
            arg(args, 2),
            arg(args, 3),
            arg(args, 4) // LANES,
        )
        a_pitch, b_pitch, out_pitch, b_div = arg(args, 5), arg(args, 6), arg(args, 7), arg(args, 8)
        act_a, act_b = argf(args, 9), argf(args, 10)
        if b_div == 1 and a_pitch == b_pitch == out_pitch == vectors * LANES:
            vectors, rows = vectors * rows, min(rows, 1)
        at, end = rows * vectors * part // parts, rows * vectors * (part + 1) // parts
        row = at // vectors
        col = at - row * vectors
        b_row = row // b_div
        b_next = (b_row + 1) * b_div  # the first row that meets the next row of b
        while at < end:
            n = min(vectors - col, end - at)
            left = a + 4 * (row * a_pitch + col * LANES)
            right = b + 4 * (b_row * b_pitch + col * LANES)
            to = out + 4 * (row * out_pitch + col * LANES)
            for i in range(0, 4 * LANES * n, 4 * LANES):
                x, y = vload(left + i, LANES), vload(right + i, LANES)
                z = x * y if OP == MUL else x + y
                vstore(to + i, activate(z, ACT, act_a, act_b))
            at += n
            row += 1
            col = 0
            if row == b_next:
                b_row += 1
                b_next += b_div

    return binary


def make_unary(ACT: int, LANES: int) -> Callable[[int, int, int], None]:
    """out = act(a)."""

    def unary(args, part, parts):
        a, out, rows, vectors = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3) // LANES
        a_pitch, out_pitch, act_a, act_b = arg(args, 4), arg(args, 5), argf(args, 6), argf(args, 7)
        if a_pitch == out_pitch == vectors * LANES:
            vectors, rows = vectors * rows, min(rows, 1)
        at, end = rows * vectors * part // parts, rows * vectors * (part + 1) // parts
        row = at // vectors
        col = at - row * vectors
        while at < end:
            n = min(vectors - col, end - at)
            source = a + 4 * (row * a_pitch + col * LANES)
            to = out + 4 * (row * out_pitch + col * LANES)
            for i in range(0, 4 * LANES * n, 4 * LANES):
                vstore(to + i, activate(vload(source + i, LANES), ACT, act_a, act_b))
            at += n
            row += 1
            col = 0

    return unary


def make_affine(ACT: int, LANES: int) -> Callable[[int, int, int], None]:
    """out = act(a * scale + shift), a scale and a shift per channel: batch normalisation alone."""

    def affine(args, part, parts):
        a, out, rows, vectors = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3) // LANES
        a_pitch, out_pitch, scale, shift = arg(args, 4), arg(args, 5), arg(args, 6), arg(args, 7)
        act_a, act_b = argf(args, 8), argf(args, 9)
        at, end = rows * vectors * part // parts, rows * vectors * (part + 1) // parts
        row = at // vectors
        col = at - row * vectors
        while at < end:
            n = min(vectors - col, end - at)
            source = a + 4 * (row * a_pitch + col * LANES)
            to = out + 4 * (row * out_pitch + col * LANES)
            s, t = scale + 4 * col * LANES, shift + 4 * col * LANES
            for i in range(0, 4 * LANES * n, 4 * LANES):
                x = vfma(vload(source + i, LANES), vload(s + i, LANES), vload(t + i, LANES))
                vstore(to + i, activate(x, ACT, act_a, act_b))
            at += n
            row += 1
            col = 0

    return affine
