"""Which element is the largest (SIGN 1) or smallest (SIGN -1) along an axis, as int64.

``make_across`` looks along an axis whose neighbours are apart, at a vector of contiguous places at once;
``make_along`` along a contiguous axis, and at last over the lanes. Of equal elements the first counts, or
the last (LAST 1); a NaN counts as larger, or smaller, than any number.

Slots (addresses in bytes, the rest in elements): 0 in, 1 out, 2 units (product of the extents), 3 rank (at
least 1), 4 width (contiguous places), 5 n, 6 stride of the n (make_across), 7 how many elements of a row
may be read (at least width; make_along), then for each kept axis, innermost first, extent, stride in the
source, stride in the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.blocks import at_float
from nbcnn.kernels.cpu.code.emit import I32, I64, Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.simd import arg, literal


def _wins(x: V, best: V, last: int) -> Scalar:
    """Where ``x``, which comes later, takes the place of ``best``."""
    bd, x_nan = x.bd, x.compare("!=", x)
    if last:
        return bd.or_(x.compare(">=", best), x_nan)
    return bd.or_(x > best, bd.and_(x_nan, bd.not_(best.compare("!=", best))))


def _splat(bd: Builder, value: Scalar, lanes: int) -> Scalar:
    """The low 32 bits of ``value`` in every lane."""
    kind = ir.VectorType(I32, lanes)
    undef = ir.Constant(kind, ir.Undefined)
    first = bd.insert_element(undef, bd.trunc(value, I32), ir.Constant(I32, 0))
    return bd.shuffle_vector(first, undef, ir.Constant(kind, [0] * lanes))


@intrinsic(prefer_literal=True)
def _across(tc, source, to, n, step, count, last, sign, lanes):
    """One vector of places: ``n`` points, ``step`` bytes apart; the first ``count`` lanes are stored."""
    late, way, wide = literal(last, "LAST"), literal(sign, "SIGN"), literal(lanes, "LANES")

    def emit_across(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, to, n, step, count = args[:5]

        def load(k: Scalar) -> V:
            x = emit.load_first(bd, bd.add(source, bd.mul(step, k)), count, wide)
            return x if way > 0 else -x

        def point(k: Scalar, carried: list[Scalar]) -> list[Scalar]:
            best, where = carried
            x = load(k)
            wins = _wins(x, V(bd, best), late)
            return [bd.select(wins, x.v, best), bd.select(wins, _splat(bd, k, wide), where)]

        start = [load(i64(0)).v, ir.Constant(ir.VectorType(I32, wide), [0] * wide)]
        where = emit.loop(bd, i64(1), n, 1, start, point)[1]
        for lane in range(wide):
            with bd.if_then(bd.icmp_signed("<", i64(lane), count)):
                index = bd.sext(bd.extract_element(where, ir.Constant(I32, lane)), I64)
                bd.store(index, emit.pointer(bd, bd.add(to, i64(8 * lane)), I64), align=8)
        return context.get_dummy_value()

    word = types.intp
    return types.void(*[word] * 5, last, sign, lanes), emit_across


@intrinsic(prefer_literal=True)
def _along(tc, source, to, width, readable, last, sign, lanes):
    """One row of ``width`` elements, of which ``readable`` may be loaded."""
    late, way, wide = literal(last, "LAST"), literal(sign, "SIGN"), literal(lanes, "LANES")

    def emit_along(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, to, width, readable = args[:4]
        ints = ir.VectorType(I32, wide)
        lane = ir.Constant(ints, list(range(wide)))

        def load(i: Scalar) -> tuple[V, Scalar]:
            """Elements from ``i`` on, and which of them there are."""
            left = bd.sub(width, i)
            # Masked loads can be very slow: not where the row has room for a whole vector.
            x = emit.load_first(bd, at_float(bd, source, i), bd.sub(readable, i), wide)
            return (x if way > 0 else -x), emit.first_mask(bd, left, wide)

        def vector(i: Scalar, carried: list[Scalar]) -> list[Scalar]:
            best, where = carried
            x, there = load(i)
            wins = bd.and_(there, _wins(x, V(bd, best), late))
            return [bd.select(wins, x.v, best), bd.select(wins, bd.add(_splat(bd, i, wide), lane), where)]

        first, there = load(i64(0))
        lowest = ir.Constant(first.v.type, [float("-inf")] * wide)
        # Lanes without an element stand beyond the row's end and lose against any other.
        beyond = ir.Constant(ints, [0x7FFFFFFF if not late else -1] * wide)
        start = [bd.select(there, first.v, lowest), bd.select(there, lane, beyond)]
        best, where = emit.loop(bd, i64(wide), width, wide, start, vector)
        top = emit.splat(bd, emit.max_lanes(V(bd, best)), wide)
        found = V(bd, best)
        same = bd.or_(found.compare("==", top), bd.and_(found.compare("!=", found), top.compare("!=", top)))
        index = bd.select(same, where, beyond)
        half = wide // 2
        while half:
            order = ir.Constant(ints, [(i + half) % wide for i in range(wide)])
            other = bd.shuffle_vector(index, ir.Constant(ints, ir.Undefined), order)
            nearer = bd.icmp_signed(">" if late else "<", other, index)
            index = bd.select(nearer, other, index)
            half //= 2
        result = bd.sext(bd.extract_element(index, ir.Constant(I32, 0)), I64)
        bd.store(result, emit.pointer(bd, to, I64), align=8)
        return context.get_dummy_value()

    word = types.intp
    return types.void(word, word, word, word, last, sign, lanes), emit_along


def make_across(LAST: int, SIGN: int, LANES: int) -> Callable[[int, int, int], None]:
    """Contiguous places, each along its own column."""

    def across(args, part, parts):
        source, out, units, rank, width = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        n, step = arg(args, 5), 4 * arg(args, 6)
        blocks = (width + LANES - 1) // LANES
        for unit in range(units * blocks * part // parts, units * blocks * (part + 1) // parts):
            rest = unit // blocks
            first = (unit - rest * blocks) * LANES
            at, to = source + 4 * first, out + 8 * first
            for axis in range(rank):
                slot = 8 + 3 * axis
                outer = rest // arg(args, slot)
                index = rest - outer * arg(args, slot)
                at += 4 * index * arg(args, slot + 1)
                to += 8 * index * arg(args, slot + 2)
                rest = outer
            _across(at, to, n, step, width - first, LAST, SIGN, LANES)

    return across


def make_along(LAST: int, SIGN: int, LANES: int) -> Callable[[int, int, int], None]:
    """Contiguous rows, each of which gives one index."""

    def along(args, part, parts):
        source, out, units, rank, width = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        readable = arg(args, 7)
        for unit in range(units * part // parts, units * (part + 1) // parts):
            rest, at, to = unit, source, out
            for axis in range(rank):
                slot = 8 + 3 * axis
                outer = rest // arg(args, slot)
                index = rest - outer * arg(args, slot)
                at += 4 * index * arg(args, slot + 1)
                to += 8 * index * arg(args, slot + 2)
                rest = outer
            _along(at, to, width, readable, LAST, SIGN, LANES)

    return along
