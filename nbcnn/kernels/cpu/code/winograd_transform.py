"""Transforms of tiles: small constant matrices applied to vectors, each the same point of LANES channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.emit import Builder, Scalar, V, i64
from nbcnn.kernels.cpu.toom_cook import Algorithm, Matrix

Row = Sequence[float]


def combined(matrix: Matrix, xs: Sequence[V]) -> list[V]:
    """``matrix`` times ``xs``, in few operations.

    Of two columns that are equal or opposite in every row, the sum and the difference are formed once; of two
    rows that are, the half in which they are equal and the half in which they are opposite. Those are the
    columns of A^T, and the rows of B^T, of points p and -p.
    """
    rows, xs = _columns_paired([list(row) for row in matrix], list(xs))
    found: dict[int, V] = {}
    for i, row in enumerate(rows):
        if i in found:
            continue
        twin = next((k for k in range(i + 1, len(rows)) if k not in found and _twins(row, rows[k])), None)
        if twin is None:
            found[i] = _sum(row, xs)
            continue
        even = _sum([c if c == t else 0.0 for c, t in zip(row, rows[twin], strict=True)], xs)
        odd = [c if c != t else 0.0 for c, t in zip(row, rows[twin], strict=True)]
        factor = next(c for c in reversed(odd) if c)
        half = _sum([c / factor for c in odd], xs)
        found[i], found[twin] = _plus(even, factor, half), _plus(even, -factor, half)
    return [found[i] for i in range(len(rows))]


def _twins(one: Row, other: Row) -> bool:
    """Whether they are equal in some places and opposite in the others, and long enough to share halves."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a or b]
    equal = sum(a == b for a, b in pairs)
    return len(pairs) > 2 and 0 < equal < len(pairs) and all(abs(a) == abs(b) for a, b in pairs)


def _columns_paired(rows: list[list[float]], xs: list[V]) -> tuple[list[list[float]], list[V]]:
    """``rows`` and ``xs`` with sums and differences in the place of such pairs of columns."""
    for i in range(len(xs)):
        for k in range(i + 1, len(xs)):
            if _twins([row[i] for row in rows], [row[k] for row in rows]):
                xs[i], xs[k] = xs[i] + xs[k], xs[i] - xs[k]
                for row in rows:
                    row[i], row[k] = (row[i], 0.0) if row[i] == row[k] else (0.0, row[i])
    return rows, xs


def _sum(row: Row, xs: Sequence[V]) -> V:
    """The sum of ``xs`` times the coefficients ``row``, of which one at least is not 0."""
    terms = sorted(((c, x) for c, x in zip(row, xs, strict=True) if c), key=lambda term: term[0] != 1)
    c, total = terms[0]
    if c != 1:
        total = total * c
    for c, x in terms[1:]:
        total = _plus(total, c, x)
    return total


def _plus(total: V, c: float, x: V) -> V:
    """``total + c * x``"""
    return total + x if c == 1 else total - x if c == -1 else emit.fma(x, c, total)


def _lines(bd: Builder, start: Scalar, step: Scalar, count: int) -> Iterator[Scalar]:
    """``count`` addresses ``step`` bytes apart.

    They are opaque: of sums the optimiser would keep a pointer for each point of a tile.
    """
    for _ in range(count):
        start = emit.opaque(bd, start)
        yield start
        start = bd.add(start, step)


def _places(bd: Builder, start: Scalar, step: Scalar, count: int) -> list[Scalar]:
    return [bd.add(start, bd.mul(step, i64(c))) for c in range(count)]


def input_transform(down: Algorithm, across: Algorithm, lanes: int) -> Any:
    """An intrinsic (source, row_step, col_step, to, point_step): V of one tile and ``lanes`` channels.

    Inputs are ``row_step`` and ``col_step`` bytes apart, points of V ``point_step`` bytes.
    """

    @intrinsic
    def transform(tc, source, row_step, col_step, to, point_step):
        def emit_transform(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
            source, row_step, col_step, to, point_step = args
            next_tile = bd.mul(col_step, i64(across.outputs * across.stride))
            half = []
            for line in _lines(bd, source, row_step, down.size):
                places = _places(bd, line, col_step, across.size)
                half.append(combined(across.input, [emit.load(bd, at, lanes) for at in places]))
                # Runs of a tile's width are too short for the CPU to foresee.
                for at in places[across.taps - across.stride :]:
                    emit.prefetch(bd, bd.add(at, next_tile))
            below = bd.mul(point_step, i64(across.size))
            for c, line in enumerate(_lines(bd, to, point_step, across.size)):
                results = combined(down.input, [row[c] for row in half])
                for at, x in zip(_places(bd, line, below, down.size), results, strict=True):
                    emit.store(at, x, align=4 * lanes)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), emit_transform

    return transform


def output_transform(down: Algorithm, across: Algorithm, step: int, lanes: int) -> Any:
    """An intrinsic (at): the outputs of one tile and ``lanes`` channels, in place of the first of its points.

    Points, and then outputs, are ``step`` bytes apart.
    """

    @intrinsic
    def transform(tc, at):
        def emit_transform(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
            half = []
            for line in _lines(bd, args[0], i64(step * across.size), down.size):
                places = _places(bd, line, i64(step), across.size)
                half.append(combined(across.output, [emit.load(bd, at, lanes) for at in places]))
            below = i64(step * across.outputs)
            for c, line in enumerate(_lines(bd, args[0], i64(step), across.outputs)):
                results = combined(down.output, [row[c] for row in half])
                for at, x in zip(_places(bd, line, below, down.outputs), results, strict=True):
                    emit.store(at, x)
            return context.get_dummy_value()

        return types.void(types.intp), emit_transform

    return transform
