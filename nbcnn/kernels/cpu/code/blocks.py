"""What moves floats in registers: transposition of blocks, runs of zeros, copies of runs.

Intrinsics rather than njit helpers: Numba compiles each of those to machine code by itself.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.emit import I32, Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.simd import literal


def at_float(bd: Builder, base: Scalar, floats: Scalar) -> Scalar:
    """The address ``floats`` floats after ``base``."""
    return bd.add(base, bd.shl(floats, i64(2)))


# --- transposition in registers --------------------------------------------------------------


def shuffle(x: V, y: V, picks: list[int]) -> V:
    """Lanes of ``x`` (0, 1, ...) and ``y`` (counted on) in the order of ``picks``."""
    order = ir.Constant(ir.VectorType(I32, len(picks)), picks)
    return V(x.bd, x.bd.shuffle_vector(x.v, y.v, order))


def transposed(rows: list[V]) -> list[V]:
    """LANES vectors of LANES lanes, transposed: swap ever smaller off-diagonal blocks."""
    lanes = len(rows)
    size = lanes // 2
    while size:
        upper = [lanes + i - size if i & size else i for i in range(lanes)]
        lower = [lanes + i if i & size else i + size for i in range(lanes)]
        for i in range(lanes):
            if not i & size:
                x, y = rows[i], rows[i + size]
                rows[i], rows[i + size] = shuffle(x, y, upper), shuffle(x, y, lower)
        size //= 2
    return rows


@intrinsic(prefer_literal=True)
def transpose(tc, source, source_step, to, to_step, lanes):
    """Transpose a block of LANES rows of LANES floats; rows are ``step`` bytes apart."""
    n = literal(lanes, "LANES")

    def emit_transpose(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, source_step, to, to_step, _ = args
        rows = [emit.load(bd, bd.add(source, bd.mul(source_step, i64(i))), n) for i in range(n)]
        for i, row in enumerate(transposed(rows)):
            emit.store(bd.add(to, bd.mul(to_step, i64(i))), row)
        return context.get_dummy_value()

    word = types.intp
    return types.void(word, word, word, word, lanes), emit_transpose


@intrinsic(prefer_literal=True)
def transpose_edge(tc, source, source_step, in_rows, in_cols, to, to_step, out_rows, out_cols, lanes):
    """The same where the block sticks out: reads in_rows x in_cols, writes out_rows x out_cols.

    What is written but not read is zero.  Counts beyond LANES, or negative ones, are allowed.
    """
    n = literal(lanes, "LANES")

    def emit_transpose(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, source_step, in_rows, in_cols, to, to_step, out_rows, out_cols, _ = args
        rows = []
        for i in range(n):
            # Rows that are not there may lie in no memory of ours, where even accesses that are masked
            # out take microseconds: they are read from the first row, and not written.
            there = bd.icmp_signed("<", i64(i), in_rows)
            at = bd.select(there, bd.add(source, bd.mul(source_step, i64(i))), source)
            rows.append(emit.load_first(bd, at, bd.select(there, in_cols, i64(0)), n))
        for i, row in enumerate(transposed(rows)):
            with bd.if_then(bd.icmp_signed("<", i64(i), out_rows)):
                emit.store_first(bd.add(to, bd.mul(to_step, i64(i))), row, out_cols)
        return context.get_dummy_value()

    word = types.intp
    return types.void(*[word] * 8, lanes), emit_transpose


# --- runs of floats --------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def zero(tc, to, pixels, fill, pitch, lanes):
    """Zeros to the first ``fill`` floats of ``pixels`` pixels."""
    n = literal(lanes, "LANES")

    def emit_zero(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        to, pixels, fill, pitch, _ = args
        dense = bd.icmp_signed("==", fill, pitch)  # then all pixels are one run
        runs, floats = bd.select(dense, i64(1), pixels), bd.select(dense, bd.mul(pixels, fill), fill)

        def run(r: Scalar, _: list[Scalar]) -> list[Scalar]:
            start = bd.mul(r, pitch)

            def some(i: Scalar, _: list[Scalar]) -> list[Scalar]:
                emit.store_first(at_float(bd, to, bd.add(start, i)), emit.zero(bd, n), bd.sub(floats, i))
                return []

            return emit.loop(bd, i64(0), floats, n, [], some)

        emit.loop(bd, i64(0), runs, 1, [], run)
        return context.get_dummy_value()

    word = types.intp
    return types.void(word, word, word, word, lanes), emit_zero


@intrinsic(prefer_literal=True)
def copy(tc, source, to, floats, lanes):
    """``floats`` floats from ``source``; the two do not overlap."""
    n = literal(lanes, "LANES")

    def emit_copy(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, to, floats, _ = args
        last = bd.sub(floats, i64(n))

        def vector(i: Scalar, _: list[Scalar]) -> list[Scalar]:
            emit.store(at_float(bd, to, i), emit.load(bd, at_float(bd, source, i), n))
            return []

        # The last vector begins early; masked accesses are for what is shorter than a vector.
        emit.loop(bd, i64(0), last, n, [], vector)
        with bd.if_else(bd.icmp_signed(">=", last, i64(0)), likely=True) as (long, short):
            with long:
                vector(last, [])
            with short:
                emit.store_first(to, emit.load_first(bd, source, floats, n), floats)
        return context.get_dummy_value()

    word = types.intp
    return types.void(word, word, word, lanes), emit_copy
