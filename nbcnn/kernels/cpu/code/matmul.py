"""Products of matrices as they come: out = a @ b for each of many pairs, rows in any distance.

Slots (addresses in bytes, the rest in floats): 0 a, 1 b, 2 out, 3 pairs, 4 rank (axes of the pairs, at
least 1), 5 rows R, 6 depth K, 7 columns M, 8 row stride of a, 9 of b, 10 of out, 11 distance in b of one
NV * LANES columns and the next (as many floats where b is not packed), then for each axis of the pairs,
innermost first, extent, stride in a, in b, in out.

A tile of MR x NV vectors stays in registers over all of K; each step reads NV vectors of a row of b and
one element of each row of a. Rows past the last stand on it and are not stored. The share of a part is a
contiguous range of tiles, those of the same columns of b one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.blocks import at_float
from nbcnn.kernels.cpu.code.emit import F32, Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.simd import arg, literal


@intrinsic(prefer_literal=True)
def _tile(tc, a, a_row, b, b_row, depth, to, out_row, rows, cols, mr, nv, whole, lanes):
    """One tile; ``whole`` 1 says that it has all its columns. Strides in bytes."""
    height, width, full, n = (
        literal(mr, "MR"),
        literal(nv, "NV"),
        literal(whole, "whole"),
        literal(lanes, "LANES"),
    )

    def emit_tile(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        a, a_row, b, b_row, depth, to, out_row, rows, cols = args[:9]
        kind = emit.vector(n)
        last = bd.sub(rows, i64(1))
        lines, results = [], []
        for i in range(height):
            row = bd.select(bd.icmp_signed(">", i64(i), last), last, i64(i))
            lines.append(bd.add(a, bd.mul(a_row, row)))
            results.append(bd.add(to, bd.mul(out_row, row)))
        left = [bd.sub(cols, i64(j * n)) for j in range(width)]
        masks = [emit.first_mask(bd, c, n) for c in left]

        def columns(at: Scalar, j: int) -> V:
            at = bd.add(at, i64(4 * n * j))
            if full:
                return emit.load(bd, at, n)
            args = [emit.pointer(bd, at, kind), ir.Constant(emit.I32, 4), masks[j], emit.zero(bd, n).v]
            return V(bd, emit.call(bd, f"llvm.masked.load.v{n}f32.p0", kind, args))

        def step(k: Scalar, carried: list[Scalar]) -> list[Scalar]:
            at, *acc = carried
            right = [columns(at, j) for j in range(width)]
            done = []
            for i in range(height):
                x = emit.splat(bd, emit.load_scalar(bd, at_float(bd, lines[i], k), F32), n)
                done += [emit.fma(x, right[j], V(bd, acc[i * width + j])).v for j in range(width)]
            return [bd.add(at, b_row), *done]

        zero = [emit.zero(bd, n).v] * (height * width)
        _, *acc = emit.loop(bd, i64(0), depth, 1, [b, *zero], step)
        for i, line in enumerate(results):
            with bd.if_then(bd.icmp_signed("<", i64(i), rows)):
                for j in range(width):
                    at, value = bd.add(line, i64(4 * n * j)), V(bd, acc[i * width + j])
                    if full:
                        emit.store(at, value)
                    else:
                        emit.store_first(at, value, left[j])
        return context.get_dummy_value()

    word = types.intp
    return types.void(*[word] * 9, mr, nv, whole, lanes), emit_tile


def make(MR: int, NV: int, LANES: int) -> Callable[[int, int, int], None]:
    """Tiles of MR rows by NV vectors."""

    def matmul(args, part, parts):
        a, b, out, pairs, rank = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        rows, depth, cols = arg(args, 5), arg(args, 6), arg(args, 7)
        a_row, b_row, out_row = 4 * arg(args, 8), 4 * arg(args, 9), 4 * arg(args, 10)
        b_panel = 4 * arg(args, 11)
        down, across = (rows + MR - 1) // MR, (cols + NV * LANES - 1) // (NV * LANES)
        tiles = pairs * across * down
        for tile in range(tiles * part // parts, tiles * (part + 1) // parts):
            rest = tile // down
            row = (tile - rest * down) * MR
            pair = rest // across
            panel = rest - pair * across
            col = panel * (NV * LANES)
            left, right, to = a + row * a_row, b + panel * b_panel, out + row * out_row + 4 * col
            for axis in range(rank):
                slot = 12 + 4 * axis
                outer = pair // arg(args, slot)
                index = pair - outer * arg(args, slot)
                left += 4 * index * arg(args, slot + 1)
                right += 4 * index * arg(args, slot + 2)
                to += 4 * index * arg(args, slot + 3)
                pair = outer
            n, m = rows - row, cols - col
            if m >= NV * LANES:
                _tile(left, a_row, right, b_row, depth, to, out_row, n, m, MR, NV, 1, LANES)
            else:
                _tile(left, a_row, right, b_row, depth, to, out_row, n, m, MR, NV, 0, LANES)

    return matmul
