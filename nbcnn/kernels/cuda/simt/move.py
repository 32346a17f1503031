"""Copies between two orders of axes, between types too: a loop nest whose axes have two strides each.

``make_move`` gives a thread one element at a time, in the order of the target. Where neighbours in the
source are no neighbours in the target, ``make_turn`` goes through tiles in shared memory, so that both
sides are accessed in order; ``make_weave`` gives a thread four neighbours of the target, for pixels of few
channels, which it reads from as many planes. Kinds are those of `memory`, or words that are copied as they
are: ``b8`` to ``b64``.

An axis is five numbers: extent, factor and shift of the division by it, stride in the source, stride in
the target; the fastest first. The slowest has 0 for the first three: there is nothing left to divide.
Strides are in elements; those of the source may be 0 or negative, from element ``start`` on. A launch
reaches over less than 2**31 elements of each side.

An element takes about 40 instructions each way (sm_80, f32 to f16, three loops). Counted, not measured: a GPU
of 132 multiprocessors issues 3e13 a second, enough for 7e11 elements, 4 TB/s at six bytes each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import cuda, float32, int32, int64, uint8, uint16, uint32

from nbcnn.kernels.cuda.simt.integers import along, quotient
from nbcnn.kernels.cuda.simt.memory import reader, writer, writer4

WORDS = {"b8": uint8, "b16": uint16, "b32": int32, "b64": int64}


def _access(SOURCE: str, TARGET: str) -> tuple[Any, Any, Any]:
    """``read(array, i)``, ``write(array, i, value)``, and the type of what goes between them."""
    if SOURCE not in WORDS:
        return reader(SOURCE), writer(TARGET), float32

    @cuda.jit(device=True)
    def read(array, i):
        return array[i]

    @cuda.jit(device=True)
    def write(array, i, value):
        array[i] = value

    return read, write, WORDS[SOURCE]


def _further(LOOPS: int) -> Any:
    """Device function: ``at`` and ``to`` moved along LOOPS axes, at most five, to round ``rest`` of them."""

    @cuda.jit(device=True)
    def further(
        rest, at, to,
        n0, f0, h0, a0, b0, n1, f1, h1, a1, b1, n2, f2, h2, a2, b2,
        n3=0, f3=0, h3=0, a3=0, b3=0, n4=0, f4=0, h4=0, a4=0, b4=0,
    ):  # fmt: skip
        if LOOPS > 0:
            rest, s, t = along(rest, n0, f0, h0, a0, b0)
            at, to = int32(at + s), int32(to + t)
        if LOOPS > 1:
            rest, s, t = along(rest, n1, f1, h1, a1, b1)
            at, to = int32(at + s), int32(to + t)
        if LOOPS > 2:
            rest, s, t = along(rest, n2, f2, h2, a2, b2)
            at, to = int32(at + s), int32(to + t)
        if LOOPS > 3:
            rest, s, t = along(rest, n3, f3, h3, a3, b3)
            at, to = int32(at + s), int32(to + t)
        if LOOPS > 4:
            rest, s, t = along(rest, n4, f4, h4, a4, b4)
            at, to = int32(at + s), int32(to + t)
        return at, to

    return further


def make_move(SOURCE: str, TARGET: str, LOOPS: int) -> Callable[..., None]:
    """An element at a time; ``valid`` elements along the fastest axis are followed by zeros."""
    read, write, word = _access(SOURCE, TARGET)
    further = _further(LOOPS - 1)

    def move(
        source, target, start, total, valid,
        n0, f0, h0, a0, b0, n1, f1, h1, a1, b1, n2, f2, h2, a2, b2,
        n3, f3, h3, a3, b3, n4, f4, h4, a4, b4, n5, f5, h5, a5, b5,
    ):  # fmt: skip
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < total:
            rest, at, to = along(i, n0, f0, h0, a0, b0)
            inside = int32(i - rest * n0) < valid
            at, to = further(
                rest, at, to, n1, f1, h1, a1, b1, n2, f2, h2, a2, b2,
                n3, f3, h3, a3, b3, n4, f4, h4, a4, b4, n5, f5, h5, a5, b5,
            )  # fmt: skip
            if inside:
                write(target, uint32(to), read(source, uint32(start + at)))
            else:
                write(target, uint32(to), word(0))
            i = int32(i + step)

    return move


def make_weave(SOURCE: str, TARGET: str, LOOPS: int) -> Callable[..., None]:
    """Four elements at a time, ``apart`` in the source; ``valid`` along the fastest axis, which are followed
    by zeros. That axis is counted in fours."""
    read, write4, further = reader(SOURCE), writer4(TARGET), _further(LOOPS - 1)

    def weave(
        source, target, start, total, valid, apart,
        n0, f0, h0, a0, b0, n1, f1, h1, a1, b1, n2, f2, h2, a2, b2, n3, f3, h3, a3, b3,
    ):  # fmt: skip
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < total:
            rest, at, to = along(i, n0, f0, h0, a0, b0)
            left = int32(valid - 4 * (i - rest * n0))
            at, to = further(
                rest, at, to, n1, f1, h1, a1, b1, n2, f2, h2, a2, b2, n3, f3, h3, a3, b3,
            )  # fmt: skip
            at = int32(start + at)
            p, q, r, s = float32(0), float32(0), float32(0), float32(0)
            if left > 0:
                p = read(source, uint32(at))
            if left > 1:
                q = read(source, uint32(at + apart))
            if left > 2:
                r = read(source, uint32(at + 2 * apart))
            if left > 3:
                s = read(source, uint32(at + 3 * apart))
            write4(target, uint32(to), p, q, r, s)
            i = int32(i + step)

    return weave


def make_turn(SOURCE: str, TARGET: str, LOOPS: int, TILE: int, THREADS: int) -> Callable[..., None]:
    """``nv`` rows of ``nu`` neighbours, ``row`` apart, become ``nu`` rows of ``nv``, ``column`` apart.

    Each row of the target is filled up to ``wide`` with zeros. ``across`` and ``down`` are how many tiles of
    TILE by TILE lie along the rows and columns of the source; LOOPS axes, none or more, stand around them.
    """
    read, write, word = _access(SOURCE, TARGET)
    further = _further(LOOPS)
    ROWS = THREADS // TILE
    STEPS = TILE // ROWS
    LINE = TILE + 1

    def turn(
        source, target, start, tiles, nu, nv, wide, row, column, across, fa, ha, down, fd, hd,
        n0, f0, h0, a0, b0, n1, f1, h1, a1, b1, n2, f2, h2, a2, b2, n3, f3, h3, a3, b3,
    ):  # fmt: skip
        shared = cuda.shared.array((TILE, LINE), word)
        x = int32(cuda.threadIdx.x % TILE)
        y = int32(cuda.threadIdx.x // TILE)
        tile = int32(cuda.blockIdx.x)
        while tile < tiles:
            rest = quotient(tile, fa, ha)
            u = int32((tile - rest * across) * TILE)
            outer = quotient(rest, fd, hd)
            v = int32((rest - outer * down) * TILE)
            at, to = int32(start), int32(0)
            at, to = further(
                outer, at, to, n0, f0, h0, a0, b0, n1, f1, h1, a1, b1, n2, f2, h2, a2, b2, n3, f3, h3, a3, b3,
            )  # fmt: skip
            i, at = int32(u + x), int32(at + u + x)
            for k in range(STEPS):
                j = int32(v + y + k * ROWS)
                if i < nu and j < nv:
                    shared[y + k * ROWS, x] = read(source, uint32(at + j * row))
            cuda.syncthreads()
            j, to = int32(v + x), int32(to + v + x)
            for k in range(STEPS):
                i = int32(u + y + k * ROWS)
                if i < nu and j < nv:
                    write(target, uint32(to + i * column), shared[x, y + k * ROWS])
                elif i < nu and j < wide:
                    write(target, uint32(to + i * column), word(0))
            cuda.syncthreads()
            tile = int32(tile + cuda.gridDim.x)

    return turn
