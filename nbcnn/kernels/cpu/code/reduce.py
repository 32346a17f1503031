"""Reductions along any axes of a value in any order of its axes.

``make_across`` keeps the axis whose elements follow each other: a vector of them is reduced at once.
``make_along`` reduces that axis, and at last the lanes.

Slots (addresses in bytes, the rest in floats): 0 in, 1 out, 2 units (product of the outer extents), 3
rank (outer axes, at least 1), 4 width (of the axis that is contiguous), 5 and 6 extent and stride of a
reduced axis, 7 and 8 of another inside it, 9 scale (float32 bits; OP SUM), 10 how many floats of a row
may be read (at least width; make_along), then for each kept axis, innermost first, extent, stride in
the source, stride in the target.

Sums run over at most 64 elements before they join the total, so that rounding errors stay small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import elementary, emit
from nbcnn.kernels.cpu.code.blocks import at_float
from nbcnn.kernels.cpu.code.emit import Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.simd import arg, argf, literal

SUM, PROD, L1, SQUARES, L2, MAX, MIN, LOG_SUM = range(8)
"""Codes of ``OP``; a mean is a SUM with a scale."""

_WIDE = 4
"""Vectors reduced side by side: independent chains."""

_RUN = 64


def _neutral(op: int) -> float:
    return {PROD: 1.0, MAX: -np.inf, MIN: np.inf}.get(op, 0.0)


def _term(x: V, op: int) -> V:
    """What is accumulated for an element."""
    if op in (SQUARES, L2):
        return x * x
    return emit.absolute(x) if op == L1 else x


def _join(x: V, y: V, op: int) -> V:
    if op in (MAX, MIN):
        return (emit.maximum_nan if op == MAX else emit.minimum_nan)(x, y)
    return x * y if op == PROD else x + y


def _result(x: V, op: int, scale: Scalar) -> V:
    if op == SUM:
        return x * emit.splat(x.bd, scale, x.lanes)
    return emit.sqrt(x) if op == L2 else elementary.log(x) if op == LOG_SUM else x


@intrinsic(prefer_literal=True)
def _across(tc, source, to, n1, step1, n2, step2, scale, count, op, wide, lanes):
    """Reduce n1 x n2 points, ``wide`` vectors each; of a lone vector the first ``count`` lanes matter."""
    code, width, n = literal(op, "OP"), literal(wide, "wide"), literal(lanes, "LANES")

    def emit_across(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, to, n1, step1, n2, step2, scale, count = args[:8]
        start = [ir.Constant(emit.vector(n), [_neutral(code)] * n)] * width

        def load(at: Scalar, i: int) -> V:
            at = bd.add(at, i64(4 * n * i))
            return emit.load_first(bd, at, count, n) if width == 1 else emit.load(bd, at, n)

        def joined(a: list[Scalar], b: list[Scalar]) -> list[Scalar]:
            return [_join(V(bd, x), V(bd, y), code).v for x, y in zip(a, b, strict=True)]

        def outer(r: Scalar, total: list[Scalar]) -> list[Scalar]:
            row = bd.add(source, bd.mul(r, step1))

            def run(first: Scalar, total: list[Scalar]) -> list[Scalar]:
                end = bd.add(first, i64(_RUN))
                end = bd.select(bd.icmp_signed("<", end, n2), end, n2)

                def point(k: Scalar, acc: list[Scalar]) -> list[Scalar]:
                    at = bd.add(row, bd.mul(k, step2))
                    return [_join(V(bd, a), _term(load(at, i), code), code).v for i, a in enumerate(acc)]

                return joined(total, emit.loop(bd, first, end, 1, start, point))

            return emit.loop(bd, i64(0), n2, _RUN, total, run)

        for i, value in enumerate(emit.loop(bd, i64(0), n1, 1, start, outer)):
            y = _result(V(bd, value), code, scale)
            at = bd.add(to, i64(4 * n * i))
            if width == 1:
                emit.store_first(at, y, count)
            else:
                emit.store(at, y)
        return context.get_dummy_value()

    word = types.intp
    return types.void(*[word] * 6, types.float32, word, op, wide, lanes), emit_across


@intrinsic(prefer_literal=True)
def _along(tc, source, to, n1, step1, n2, step2, scale, width, readable, op, lanes):
    """Reduce n1 x n2 rows of ``width`` floats to one; ``readable`` floats of a row may be loaded."""
    code, n = literal(op, "OP"), literal(lanes, "LANES")

    def emit_along(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, to, n1, step1, n2, step2, scale, width, readable = args[:9]
        kind = emit.vector(n)
        nothing = ir.Constant(kind, [_neutral(code)] * n)
        wide = bd.mul(bd.sdiv(width, i64(_WIDE * n)), i64(_WIDE * n))
        whole = bd.mul(bd.sdiv(width, i64(n)), i64(n))
        rest = bd.sub(width, whole)
        room = bd.icmp_signed(">=", readable, bd.add(whole, i64(n)))

        def add(acc: Scalar, x: V) -> Scalar:
            return _join(V(bd, acc), _term(x, code), code).v

        def row(base: Scalar, acc: list[Scalar]) -> list[Scalar]:
            def some(i: Scalar, acc: list[Scalar]) -> list[Scalar]:
                at = at_float(bd, base, i)
                return [add(a, emit.load(bd, bd.add(at, i64(4 * n * k)), n)) for k, a in enumerate(acc)]

            acc = emit.loop(bd, i64(0), wide, _WIDE * n, acc, some)
            acc = [*emit.loop(bd, wide, whole, n, acc[:1], some), *acc[1:]]
            before = bd.block
            with bd.if_then(bd.icmp_signed(">", rest, i64(0))):
                # Masked loads can be very slow: not where the row has room for a whole vector.
                at = at_float(bd, base, whole)
                x = emit.load_first(bd, at, bd.select(room, i64(n), rest), n)
                inside = emit.first_mask(bd, rest, n)
                term = bd.select(inside, _term(x, code).v, nothing)
                more, after = _join(V(bd, acc[0]), V(bd, term), code).v, bd.block
            value = bd.phi(kind)
            value.add_incoming(acc[0], before)
            value.add_incoming(more, after)
            return [value, *acc[1:]]

        def outer(r: Scalar, acc: list[Scalar]) -> list[Scalar]:
            base = bd.add(source, bd.mul(r, step1))

            def inner(k: Scalar, acc: list[Scalar]) -> list[Scalar]:
                return row(bd.add(base, bd.mul(k, step2)), acc)

            return emit.loop(bd, i64(0), n2, 1, acc, inner)

        a, b, c, d = (V(bd, v) for v in emit.loop(bd, i64(0), n1, 1, [nothing] * _WIDE, outer))
        total = _join(_join(a, b, code), _join(c, d, code), code)
        value = emit.splat(bd, emit.fold(total, lambda p, q: _join(p, q, code)), n)
        emit.store_first(to, _result(value, code, scale), i64(1))
        return context.get_dummy_value()

    word = types.intp
    return types.void(*[word] * 6, types.float32, word, word, op, lanes), emit_along


def make_across(OP: int, LANES: int) -> Callable[[int, int, int], None]:
    """Vectors of an axis that stays."""

    def across(args, part, parts):
        source, out, units, rank, width = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        n1, step1, n2, step2 = arg(args, 5), 4 * arg(args, 6), arg(args, 7), 4 * arg(args, 8)
        scale = argf(args, 9)
        blocks = (width + _WIDE * LANES - 1) // (_WIDE * LANES)
        for unit in range(units * blocks * part // parts, units * blocks * (part + 1) // parts):
            rest = unit // blocks
            first = (unit - rest * blocks) * (_WIDE * LANES)
            at, to = source + 4 * first, out + 4 * first
            for axis in range(rank):
                slot = 11 + 3 * axis
                outer = rest // arg(args, slot)
                index = rest - outer * arg(args, slot)
                at += 4 * index * arg(args, slot + 1)
                to += 4 * index * arg(args, slot + 2)
                rest = outer
            left = width - first
            if left >= _WIDE * LANES:
                _across(at, to, n1, step1, n2, step2, scale, left, OP, _WIDE, LANES)
            else:
                for i in range(0, left, LANES):
                    _across(at + 4 * i, to + 4 * i, n1, step1, n2, step2, scale, left - i, OP, 1, LANES)

    return across


def make_along(OP: int, LANES: int) -> Callable[[int, int, int], None]:
    """Rows reduced to one number each."""

    def along(args, part, parts):
        source, out, units, rank, width = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        n1, step1, n2, step2 = arg(args, 5), 4 * arg(args, 6), arg(args, 7), 4 * arg(args, 8)
        scale, readable = argf(args, 9), arg(args, 10)
        for unit in range(units * part // parts, units * (part + 1) // parts):
            rest, at, to = unit, source, out
            for axis in range(rank):
                slot = 11 + 3 * axis
                outer = rest // arg(args, slot)
                index = rest - outer * arg(args, slot)
                at += 4 * index * arg(args, slot + 1)
                to += 4 * index * arg(args, slot + 2)
                rest = outer
            _along(at, to, n1, step1, n2, step2, scale, width, readable, OP, LANES)

    return along
