"""Copies between any two orders of axes: what transposes, slices, expands and shuffles come down to.

A move is a loop nest whose axes each have a stride in the source and one in the target. The outer
axes are counted here; the inner ones are one of six forms (``FORM``):

========== ======================================================================================
ROWS       ``nu`` floats in order
FILL       one float, ``nu`` times
STRIDED    ``nu`` floats, ``in step`` apart in the source and ``out step`` in the target
TRANSPOSE  ``nv`` rows of ``nu`` floats, ``in step`` apart, become ``nu`` rows of ``nv``, ``out step``
           apart; axis 0 counts blocks of LANES of the ``nv``
WEAVE      ``G`` rows of ``nu`` floats, ``in step`` apart, become ``nu`` pixels of G floats
UNWEAVE    ``nu`` pixels of G floats become G rows, ``out step`` apart
========== ======================================================================================

The G rows stand in lines of LINE, ``nv`` floats apart: one line where LINE is G.

Slots (addresses in bytes, the rest in floats): 0 in, 1 out, 2 units (product of the extents), 3 rank
(at least 1), 4 nu, 5 nv, 6 in step, 7 out step, then for each outer axis, innermost first, extent,
stride in the source, stride in the target. Strides may be 0 or negative in the source.

Where a row is no multiple of LANES its last vector begins early rather than being masked, so source
and target must not overlap. The share of a part is a contiguous range of units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.blocks import at_float, copy, shuffle, transpose, transpose_edge
from nbcnn.kernels.cpu.code.emit import Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.simd import (
    arg,
    literal,
    load_f32,
    store_f32,
    vset,
    vstore,
    vstore_first,
)

ROWS, FILL, STRIDED, TRANSPOSE, WEAVE, UNWEAVE = range(6)
"""Codes of ``FORM``."""


# --- interleaving in registers ---------------------------------------------------------------


def _gathered(vectors: list[V], picks: list[tuple[int, int]]) -> V:
    """A vector whose lane i is lane ``picks[i][1]`` of ``vectors[picks[i][0]]``."""
    lanes = len(picks)
    found = vectors[0]
    for k in range(1, len(vectors)):
        order = [
            lanes + lane if which == k else lane if k == 1 else i for i, (which, lane) in enumerate(picks)
        ]
        found = shuffle(found, vectors[k], order)
    return found


def _woven(rows: list[V]) -> list[V]:
    """Rows a, b, ... as the stream a0 b0 ... a1 b1 ..., in as many vectors."""
    count, lanes = len(rows), rows[0].lanes
    if count == 1:
        return rows
    if count % 2:
        places = [divmod(e, count) for e in range(count * lanes)]
        return [
            _gathered(rows, [(row, lane) for lane, row in places[k * lanes : (k + 1) * lanes]])
            for k in range(count)
        ]
    low = [i // 2 + (lanes if i % 2 else 0) for i in range(lanes)]
    high = [i + lanes // 2 for i in low]
    pairs = zip(_woven(rows[::2]), _woven(rows[1::2]), strict=True)
    return [shuffle(x, y, picks) for x, y in pairs for picks in (low, high)]


def _unwoven(stream: list[V]) -> list[V]:
    """The rows of which `_woven` makes ``stream``."""
    count, lanes = len(stream), stream[0].lanes
    if count == 1:
        return stream
    if count % 2:
        return [
            _gathered(stream, [divmod(e * count + row, lanes) for e in range(lanes)]) for row in range(count)
        ]
    even = list(range(0, 2 * lanes, 2))
    odd = [i + 1 for i in even]
    pairs = list(zip(stream[::2], stream[1::2], strict=True))
    evens, odds = ([shuffle(x, y, picks) for x, y in pairs] for picks in (even, odd))
    rows = zip(_unwoven(evens), _unwoven(odds), strict=True)
    return [row for two in rows for row in two]


def _pixels_and_rows(weave: bool) -> Any:
    """The intrinsic of WEAVE or UNWEAVE: (source, to, bytes between rows, between lines, nu, literals)."""

    def build(
        tc: Any, source: Any, to: Any, step: Any, jump: Any, nu: Any, g: Any, line: Any, lanes: Any
    ) -> Any:
        count, across, n = literal(g, "G"), literal(line, "LINE"), literal(lanes, "LANES")

        def emit_pixels(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
            source, to, step, jump, nu = args[:5]

            def row(base: Scalar, g: int, first: Scalar) -> Scalar:
                line = bd.add(base, bd.mul(jump, i64(g // across)))
                return at_float(bd, bd.add(line, bd.mul(step, i64(g % across))), first)

            def pixel(base: Scalar, k: int, first: Scalar) -> Scalar:
                return at_float(bd, base, bd.add(bd.mul(first, i64(count)), i64(k * n)))

            read, write = (row, pixel) if weave else (pixel, row)
            change = _woven if weave else _unwoven

            def whole(first: Scalar) -> None:
                found = change([emit.load(bd, read(source, k, first), n) for k in range(count)])
                for k, vector in enumerate(found):
                    emit.store(write(to, k, first), vector)

            def left(k: int, is_row: bool) -> Scalar:
                return nu if is_row else bd.sub(bd.mul(nu, i64(count)), i64(k * n))

            wide = bd.icmp_signed(">=", nu, i64(n))
            with bd.if_else(wide, likely=True) as (vectors, masked):
                with vectors:
                    last = bd.sub(nu, i64(n))

                    def body(first: Scalar, _: list[Scalar]) -> list[Scalar]:
                        past = bd.icmp_signed(">", first, last)
                        whole(bd.select(past, last, first))
                        return []

                    emit.loop(bd, i64(0), nu, n, [], body)
                with masked:
                    zero = i64(0)
                    found = change(
                        [emit.load_first(bd, read(source, k, zero), left(k, weave), n) for k in range(count)]
                    )
                    for k, vector in enumerate(found):
                        emit.store_first(write(to, k, zero), vector, left(k, not weave))
            return context.get_dummy_value()

        word = types.intp
        return types.void(word, word, word, word, word, g, line, lanes), emit_pixels

    return intrinsic(prefer_literal=True)(build)


_weave, _unweave = _pixels_and_rows(True), _pixels_and_rows(False)


# --- the kernel ------------------------------------------------------------------------------


def make(FORM: int, G: int, LINE: int, LANES: int) -> Callable[[int, int, int], None]:
    """A move of one form; ``G`` and ``LINE`` matter to WEAVE and UNWEAVE only."""

    def move(args, part, parts):
        source, out, units, rank = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        nu, nv, in_step, out_step = arg(args, 4), arg(args, 5), 4 * arg(args, 6), 4 * arg(args, 7)
        extent, in_stride, out_stride = arg(args, 8), 4 * arg(args, 9), 4 * arg(args, 10)
        unit, end = units * part // parts, units * (part + 1) // parts
        while unit < end:
            # Where this run along axis 0 begins, and how long it is.
            rest = unit // extent
            first = unit - rest * extent
            at, to = source + first * in_stride, out + first * out_stride
            for axis in range(1, rank):
                slot = 8 + 3 * axis
                outer = rest // arg(args, slot)
                index = rest - outer * arg(args, slot)
                at += 4 * index * arg(args, slot + 1)
                to += 4 * index * arg(args, slot + 2)
                rest = outer
            count = min(extent - first, end - unit)
            for i in range(first, first + count):
                if FORM == ROWS:
                    copy(at, to, nu, LANES)
                elif FORM == FILL:
                    x = vset(load_f32(at), LANES)
                    whole = nu - nu % LANES
                    for k in range(0, whole, LANES):
                        vstore(to + 4 * k, x)
                    vstore_first(to + 4 * whole, x, nu - whole)
                elif FORM == STRIDED:
                    for k in range(nu):
                        store_f32(to + k * out_step, load_f32(at + k * in_step))
                elif FORM == TRANSPOSE:
                    cols = nv - i * LANES
                    if nu >= LANES and nv >= LANES:
                        back = max(0, LANES - cols)
                        for k in range(0, nu, LANES):
                            u = min(k, nu - LANES)
                            here, there = at - back * in_step + 4 * u, to - 4 * back + u * out_step
                            transpose(here, in_step, there, out_step, LANES)
                    else:
                        for u in range(0, nu, LANES):
                            here, there = at + 4 * u, to + u * out_step
                            transpose_edge(here, in_step, cols, nu - u, there, out_step, nu - u, cols, LANES)
                elif FORM == WEAVE:
                    _weave(at, to, in_step, 4 * nv, nu, G, LINE, LANES)
                else:
                    _unweave(at, to, out_step, 4 * nv, nu, G, LINE, LANES)
                at += in_stride
                to += out_stride
            unit += count

    return move
