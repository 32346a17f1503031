"""Elementwise kernels: ``act(a op b + res)`` over any broadcast, ``act(a)``, ``act(a * scale + shift)``.

Slots are addresses in bytes; pitches, strides and widths in float elements.  Every kernel walks rows of
floats that lie side by side.  The share of a part is a contiguous range of vectors, and no float past
the width of a row is read or written.  All kernels may run in place.

==========  =============  ==============
slot        make_unary     make_affine
==========  =============  ==============
0           a              a
1           out            out
2           rows           rows
3           width          width
4           a pitch        a pitch
5           out pitch      out pitch
6           act a          scale [width]
7           act b          shift [width]
8                          act a
9                          act b
==========  =============  ==============

make_binary: 0 a, 1 b, 2 out, 3 width, 4-7 extents of the loops over rows, the fastest last, 8-11 strides
of a in these loops, 12-15 of b, 16-19 of out, 20 act a, 21 act b, 22 res (what RES adds; ignored if
RES is 0), 23-26 its strides.  A stride of 0 repeats an operand.

``act a`` and ``act b`` are the activation's arguments, float32 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.activation_ids import BINARIES
from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.activations import activate, emit_activation
from nbcnn.kernels.cpu.code.emit import V
from nbcnn.kernels.cpu.code.simd import (
    arg,
    argf,
    literal,
    load_f32,
    vec_type,
    vfma,
    vload,
    vload_first,
    vset,
    vstore,
    vstore_first,
    vzero,
)

_OPS: dict[str, Callable[[V, V], V]] = {
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "sub": lambda x, y: x - y,
    "div": lambda x, y: x / y,
    "minimum": emit.minimum_nan,
    "maximum": emit.maximum_nan,
    "prelu": lambda x, y: emit.select(x < 0.0, x * y, x),
}
_BY_CODE = {BINARIES[name]: op for name, op in _OPS.items()}

NUMBER, ROW = 0, 1
"""What an operand of :func:`make_binary` holds for a row of the result: one float, or as many as the row."""


@intrinsic(prefer_literal=True)
def combined(tc, op, x, y):
    """x op y, for a code of ``BINARIES``."""
    kind, emit_op = vec_type(x, "x"), _BY_CODE[literal(op, "OP")]

    def emit_combined(context: Any, bd: Any, sig: Any, args: Any) -> Any:
        return emit_op(V(bd, args[1]), V(bd, args[2])).v

    return kind(op, kind, vec_type(y, "y")), emit_combined


@intrinsic(prefer_literal=True)
def finished(tc, x, z, res, code, a, b):
    """The activation of x, and z added before it (RES 1), after it (2) or not at all (0)."""
    kind, number, order = vec_type(x, "x"), literal(code, "ACT"), literal(res, "RES")

    def emit_finished(context: Any, bd: Any, sig: Any, args: Any) -> Any:
        x, z = V(bd, args[0]), V(bd, args[1])
        first, second = (emit.splat(bd, value, kind.lanes) for value in args[4:])
        y = emit_activation(number, x + z if order == 1 else x, first, second)
        return (y + z if order == 2 else y).v

    return kind(kind, vec_type(z, "z"), res, code, types.float32, types.float32), emit_finished


def make_binary(OP: int, ACT: int, RES: int, A: int, B: int, LANES: int) -> Callable[[int, int, int], None]:
    """out = act(a op b), OP one of ``BINARIES``; A and B tell what the operands hold for a row.

    RES: 0, or 1 and 2 to add a third value before and after the activation; it has all of the result's rows.
    """

    def binary(args, part, parts):
        width, n1, n2, n3 = arg(args, 3), arg(args, 5), arg(args, 6), arg(args, 7)
        a_step, b_step = 4 * arg(args, 11), 4 * arg(args, 15)
        out_step, res_step = 4 * arg(args, 19), 4 * arg(args, 26)
        act_a, act_b = argf(args, 20), argf(args, 21)
        vectors, whole = (width + LANES - 1) // LANES, width // LANES
        total = arg(args, 4) * n1 * n2 * n3 * vectors
        at, end = total * part // parts, total * (part + 1) // parts
        while at < end:
            row = at // vectors
            col = at - row * vectors
            i2, i3 = row // n3, row % n3
            i1, i2 = i2 // n2, i2 % n2
            i0, i1 = i1 // n1, i1 % n1
            left = arg(args, 0) + 4 * (i0 * arg(args, 8) + i1 * arg(args, 9) + i2 * arg(args, 10))
            right = arg(args, 1) + 4 * (i0 * arg(args, 12) + i1 * arg(args, 13) + i2 * arg(args, 14))
            to = arg(args, 2) + 4 * (i0 * arg(args, 16) + i1 * arg(args, 17) + i2 * arg(args, 18))
            add = arg(args, 22) + 4 * (i0 * arg(args, 23) + i1 * arg(args, 24) + i2 * arg(args, 25))
            left, right, to = left + i3 * a_step, right + i3 * b_step, to + i3 * out_step
            add += i3 * res_step
            for _ in range(i3, n3):
                n = min(vectors - col, end - at)
                x, y, z = vset(load_f32(left), LANES), vset(load_f32(right), LANES), vzero(LANES)
                last = 4 * LANES * min(whole, col + n)
                for i in range(4 * LANES * col, last, 4 * LANES):
                    if A == ROW:
                        x = vload(left + i, LANES)
                    if B == ROW:
                        y = vload(right + i, LANES)
                    if RES:
                        z = vload(add + i, LANES)
                    vstore(to + i, finished(combined(OP, x, y), z, RES, ACT, act_a, act_b))
                if col + n > whole:
                    rest = width - whole * LANES
                    if A == ROW:
                        x = vload_first(left + last, rest, LANES)
                    if B == ROW:
                        y = vload_first(right + last, rest, LANES)
                    if RES:
                        z = vload_first(add + last, rest, LANES)
                    vstore_first(to + last, finished(combined(OP, x, y), z, RES, ACT, act_a, act_b), rest)
                at += n
                if at >= end:
                    break
                col = 0
                left, right, to, add = left + a_step, right + b_step, to + out_step, add + res_step

    return binary


def make_unary(ACT: int, LANES: int) -> Callable[[int, int, int], None]:
    """out = act(a)."""

    def unary(args, part, parts):
        a, out, rows, width = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        a_pitch, out_pitch, act_a, act_b = arg(args, 4), arg(args, 5), argf(args, 6), argf(args, 7)
        if a_pitch == out_pitch == width:
            width, rows = width * rows, min(rows, 1)
        vectors, whole = (width + LANES - 1) // LANES, width // LANES
        at, end = rows * vectors * part // parts, rows * vectors * (part + 1) // parts
        row = at // vectors
        col = at - row * vectors
        while at < end:
            n = min(vectors - col, end - at)
            source, to = a + 4 * row * a_pitch, out + 4 * row * out_pitch
            last = 4 * LANES * min(whole, col + n)
            for i in range(4 * LANES * col, last, 4 * LANES):
                vstore(to + i, activate(vload(source + i, LANES), ACT, act_a, act_b))
            if col + n > whole:
                rest = width - whole * LANES
                x = vload_first(source + last, rest, LANES)
                vstore_first(to + last, activate(x, ACT, act_a, act_b), rest)
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
