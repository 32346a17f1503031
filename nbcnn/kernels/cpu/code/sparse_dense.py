"""Fully connected layers of sparse weights: each result is a sum over the weights that are not zero.

Weights are read once and bound the speed: 8 bytes each, value and offset, one after the other. They are
ordered by block of LANES outputs, then by chunk of the row that they read, then by output, so that a chunk
stays in the first cache.

Argument block (addresses in bytes; strides in float elements):

==  ==================================================================================
 0  x: first row        1  out: first row       2  res: what RES adds (ignored if RES is 0)
 3  bias, float32 [ROWS rounded up to LANES]
 4  starts, int32 [blocks * chunks * LANES + 1]: the first entry of each output in each chunk
 5  offsets, int32 [entries]: bytes from the row of x
 6  values, float32 [entries]
 7  images              8  ROWS: outputs
 9  x image stride     10  out image stride    11  res image stride
12  act a, float32 bits 13  act b, float32 bits
14  chunks
==  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.activations import activate
from nbcnn.kernels.cpu.code.emit import F32, I32, I64, Builder, Scalar, i64
from nbcnn.kernels.cpu.code.simd import (
    arg,
    argf,
    load_f32,
    load_i32,
    store_f32,
    vload,
    vload_first,
    vstore_first,
)

_SUMS = 8  # FMA latency (4 cycles) x FMAs a cycle (2)
_AHEAD = 2048  # bytes of weights to ask for ahead: they come from memory


@intrinsic
def _dot(tc, values, offsets, count, x):
    """The sum of ``count`` values times the floats of ``x`` at their offsets."""

    def emit_dot(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        values, offsets, count, x = args
        nothing = ir.Constant(F32, 0.0)

        def entries(number: int) -> Callable[[Scalar, list[Scalar]], list[Scalar]]:
            def body(at: Scalar, sums: list[Scalar]) -> list[Scalar]:
                found = list(sums)
                if number > 1:
                    for stream in (values, offsets):
                        emit.prefetch(bd, bd.add(stream, bd.add(at, i64(_AHEAD))))
                for i in range(number):
                    offset = emit.load_scalar(bd, bd.add(offsets, bd.add(at, i64(4 * i))), I32)
                    weight = emit.load_scalar(bd, bd.add(values, bd.add(at, i64(4 * i))), F32)
                    operand = emit.load_scalar(bd, bd.add(x, bd.sext(offset, I64)), F32)
                    found[i] = emit.call(bd, "llvm.fmuladd.f32", F32, [weight, operand, found[i]])
                return found

            return body

        end = bd.shl(count, i64(2))
        whole = bd.sub(end, bd.srem(end, i64(4 * _SUMS)))
        sums = emit.loop(bd, i64(0), whole, 4 * _SUMS, [nothing] * _SUMS, entries(_SUMS))
        sums = [*emit.loop(bd, whole, end, 4, sums[:1], entries(1)), *sums[1:]]
        while len(sums) > 1:
            sums = [bd.fadd(p, q) for p, q in zip(sums[::2], sums[1::2], strict=True)]
        return sums[0]

    return types.float32(types.intp, types.intp, types.intp, types.intp), emit_dot


def make(LANES: int, ACT: int, RES: int) -> Callable[[int, int, int], None]:
    """Rows of sparse weights times rows of ``x``; RES 0: no residual, 1: before the activation, 2: after."""

    def sparse_dense(args, part, parts):
        x, out, res, bias = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        starts, offsets, values = arg(args, 4), arg(args, 5), arg(args, 6)
        images, rows = arg(args, 7), arg(args, 8)
        x_image, out_image, res_image = 4 * arg(args, 9), 4 * arg(args, 10), 4 * arg(args, 11)
        act_a, act_b, chunks = argf(args, 12), argf(args, 13), arg(args, 14)
        blocks = (rows + LANES - 1) // LANES
        for block in range(blocks * part // parts, blocks * (part + 1) // parts):
            first = block * LANES
            count = min(LANES, rows - first)
            for image in range(images):  # the weights of a block stay in the cache for all images
                row, to = x + image * x_image, out + image * out_image + 4 * first
                for chunk in range(chunks):
                    line = starts + 4 * LANES * (block * chunks + chunk)
                    entry = load_i32(line)
                    for r in range(count):
                        following = load_i32(line + 4 * (r + 1))
                        total = _dot(values + 4 * entry, offsets + 4 * entry, following - entry, row)
                        if chunk > 0:
                            total += load_f32(to + 4 * r)
                        store_f32(to + 4 * r, total)
                        entry = following
                other = res + image * res_image + 4 * first
                v = vload_first(to, count, LANES) + vload(bias + 4 * first, LANES)
                if RES == 1:
                    v = v + vload_first(other, count, LANES)
                v = activate(v, ACT, act_a, act_b)
                if RES == 2:
                    v = v + vload_first(other, count, LANES)
                vstore_first(to, v, count)

    return sparse_dense
