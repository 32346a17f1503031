"""Windows over whole channels: pooling and depthwise convolution; and the mean or maximum of a plane.

Pixels lie along the vectors. ``load_inside`` and ``load_scattered`` read what a tap of a window sees, as
``nbcnn.kernels.cpu.walk`` describes it; sparse filters read their pixels in the same two ways.

Argument block of ``make_window`` (addresses in bytes; pitches and strides in float elements):

==  ==================================================================================
 0  x: first image       1  out: first image     2  res: what RES adds (ignored if RES is 0)
 3  OP 2: weights, float32 [filters][taps]; OP 1: float32 [vectors * LANES], one by what a window counts
 4  OP 2: bias, float32 [filters]
 5  shifts: int32 [taps] (MODE 1)
 6  inside: int32 [taps][vectors] (MODE 1) or [taps][vectors * LANES] (MODE 2)
 7  images               8  channels of out      9  channels of out for each of x
10  taps                11  vectors of a plane of out
12  x image stride      13  x pitch of planes
14  out image stride    15  out pitch of planes
16  res image stride    17  res pitch of planes
18  act a, float32 bits 19  act b, float32 bits
==  ==================================================================================

``make_global``: 0 x, 1 out, 2 images, 3 channels, 4 points of a plane, 5 x image stride, 6 x pitch of planes,
7 out image stride; one number for each channel is written, contiguously.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.activations import emit_activation
from nbcnn.kernels.cpu.code.emit import F32, I1, I32, I64, Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.simd import (
    arg,
    argf,
    literal,
    load_f32,
    store_f32,
    vhmax,
    vload,
    vload_first,
    vmax_nan,
    vset,
    vsum,
)

MAX, AVERAGE, DEPTHWISE = 0, 1, 2
"""Values of OP."""

SHIFT, GATHER = 1, 2
"""Values of MODE; 0 would be a window of one pixel."""


def load_inside(bd: Builder, at: Scalar, bits: Scalar, outside: V) -> V:
    """The lanes of ``bits`` (int32) from ``at``, those of ``outside`` elsewhere: they are not read."""
    lanes = outside.lanes
    mask = bd.bitcast(bd.trunc(bits, ir.IntType(lanes)), ir.VectorType(I1, lanes))
    operands = [emit.pointer(bd, at, outside.v.type), ir.Constant(I32, 4), mask, outside.v]
    return V(bd, emit.call(bd, f"llvm.masked.load.v{lanes}f32.p0", outside.v.type, operands))


def load_scattered(bd: Builder, base: Scalar, table: Scalar, outside: V) -> V:
    """A float from ``base`` for each offset (int32, in floats) at ``table``; ``outside`` if negative."""
    lanes = outside.lanes
    ints, words = ir.VectorType(I32, lanes), ir.VectorType(I64, lanes)
    offsets = bd.load(emit.pointer(bd, table, ints), align=4)
    inside = bd.icmp_signed(">=", offsets, ir.Constant(ints, [0] * lanes))
    start = bd.insert_element(ir.Constant(words, ir.Undefined), base, ir.Constant(I32, 0))
    start = bd.shuffle_vector(start, start, ir.Constant(ints, [0] * lanes))
    places = bd.add(start, bd.shl(bd.sext(offsets, words), ir.Constant(words, [2] * lanes)))
    pointers = bd.inttoptr(places, ir.VectorType(F32.as_pointer(), lanes))
    operands = [pointers, ir.Constant(I32, 4), inside, outside.v]
    return V(bd, emit.call(bd, f"llvm.masked.gather.v{lanes}f32.v{lanes}p0", outside.v.type, operands))


@intrinsic(prefer_literal=True)
def _window(tc, op, mode, nv, lanes, act, res_kind,
            plane, weights, bias, shifts, inside, taps, vectors, out, res, act_a, act_b):  # fmt: skip
    """NV vectors of one plane of the result; ``plane`` is at their pixels (MODE 1) or at its beginning."""
    constants = (op, mode, nv, lanes, act, res_kind)
    names = ("OP", "MODE", "NV", "LANES", "ACT", "RES")
    kind, how, n, wide, code, addend = (literal(c, m) for c, m in zip(constants, names, strict=True))
    width = 4 * wide

    def emit_window(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        plane, weights, bias, shifts, inside, taps, vectors, out, res, act_a, act_b = args[6:]
        if kind == MAX:
            outside = V(bd, ir.Constant(emit.vector(wide), [float("-inf")] * wide))
        else:
            outside = emit.zero(bd, wide)
        start = emit.splat(bd, emit.load_scalar(bd, bias, F32), wide) if kind == DEPTHWISE else outside

        def tap(t: Scalar, acc: list[Scalar]) -> list[Scalar]:
            row = bd.mul(bd.mul(t, vectors), i64(4 if how == SHIFT else width))
            table = bd.add(inside, row)
            at = plane
            if how == SHIFT:
                shift = emit.load_scalar(bd, bd.add(shifts, bd.shl(t, i64(2))), I32)
                at = bd.add(plane, bd.shl(bd.sext(shift, I64), i64(2)))
            weight = None
            if kind == DEPTHWISE:
                weight = emit.splat(bd, emit.load_scalar(bd, bd.add(weights, bd.shl(t, i64(2))), F32), wide)
            found = []
            for v in range(n):
                if how == SHIFT:
                    bits = emit.load_scalar(bd, bd.add(table, i64(4 * v)), I32)
                    x = load_inside(bd, bd.add(at, i64(v * width)), bits, outside)
                else:
                    x = load_scattered(bd, at, bd.add(table, i64(v * width)), outside)
                old = V(bd, acc[v])
                if weight is not None:
                    found.append(emit.fma(weight, x, old).v)
                else:
                    found.append((emit.maximum_nan(old, x) if kind == MAX else old + x).v)
            return found

        acc = emit.loop(bd, i64(0), taps, 1, [start.v] * n, tap)
        a, b = emit.splat(bd, act_a, wide), emit.splat(bd, act_b, wide)
        for v in range(n):
            x, other = V(bd, acc[v]), bd.add(res, i64(v * width))
            if kind == AVERAGE:
                x = x * emit.load(bd, bd.add(weights, i64(v * width)), wide)
            if addend == 1:
                x = x + emit.load(bd, other, wide)
            x = emit_activation(code, x, a, b)
            if addend == 2:
                x = x + emit.load(bd, other, wide)
            emit.store(bd.add(out, i64(v * width)), x)
        return context.get_dummy_value()

    return types.void(*constants, *[types.intp] * 9, types.float32, types.float32), emit_window


def make_window(OP: int, MODE: int, LANES: int, ACT: int, RES: int) -> Callable[[int, int, int], None]:
    """Windows over planes. OP 0: maximum, 1: mean, 2: weighted sum; ACT and RES as everywhere."""
    NV, WIDTH = 4, 4 * LANES
    STEP = 4 if MODE == SHIFT else WIDTH  # bytes of the table for a vector

    def window(args, part, parts):
        x, out, res = arg(args, 0), arg(args, 1), arg(args, 2)
        weights, bias, shifts, inside = arg(args, 3), arg(args, 4), arg(args, 5), arg(args, 6)
        images, channels, multiplier = arg(args, 7), arg(args, 8), arg(args, 9)
        taps, vectors = arg(args, 10), arg(args, 11)
        x_image, x_pitch = 4 * arg(args, 12), 4 * arg(args, 13)
        out_image, out_pitch = 4 * arg(args, 14), 4 * arg(args, 15)
        res_image, res_pitch = 4 * arg(args, 16), 4 * arg(args, 17)
        act_a, act_b = argf(args, 18), argf(args, 19)

        for plane in range(images * channels * part // parts, images * channels * (part + 1) // parts):
            image = plane // channels
            c = plane - image * channels
            source = x + image * x_image + c // multiplier * x_pitch
            to, other = out + image * out_image + c * out_pitch, res + image * res_image + c * res_pitch
            own = weights + 4 * c * taps if OP == 2 else weights
            v = 0
            while v < vectors:
                at = v * WIDTH
                seen = source + at if MODE == 1 else source
                scale, table = own if OP == 2 else own + at, inside + v * STEP
                if v + NV <= vectors:
                    _window(
                        OP, MODE, NV, LANES, ACT, RES, seen, scale, bias + 4 * c, shifts, table,
                        taps, vectors, to + at, other + at, act_a, act_b,
                    )  # fmt: skip
                    v += NV
                else:
                    _window(
                        OP, MODE, 1, LANES, ACT, RES, seen, scale, bias + 4 * c, shifts, table,
                        taps, vectors, to + at, other + at, act_a, act_b,
                    )  # fmt: skip
                    v += 1

    return window


def make_global(OP: int, LANES: int) -> Callable[[int, int, int], None]:
    """The maximum (OP 0) or the mean (OP 1) of each plane."""

    def over_plane(args, part, parts):
        x, out, images, channels, points = (
            arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4))  # fmt: skip
        x_image, x_pitch, out_image = 4 * arg(args, 5), 4 * arg(args, 6), 4 * arg(args, 7)
        whole = points // LANES * LANES
        for plane in range(images * channels * part // parts, images * channels * (part + 1) // parts):
            image = plane // channels
            c = plane - image * channels
            at = x + image * x_image + c * x_pitch
            if OP == 0:
                highest = vset(np.float32(-np.inf), LANES)
                for p in range(0, whole, LANES):
                    highest = vmax_nan(highest, vload(at + 4 * p, LANES))
                result = vhmax(highest)
                for p in range(whole, points):
                    value = load_f32(at + 4 * p)
                    if value > result or value != value:
                        result = value
            else:
                total = vload_first(at + 4 * whole, points - whole, LANES)
                for p in range(0, whole, LANES):
                    total = total + vload(at + 4 * p, LANES)
                result = vsum(total) / np.float32(points)
            store_f32(out + image * out_image + 4 * c, result)

    return over_plane
