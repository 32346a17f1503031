"""Winograd's convolution F(TILE x TILE, 3 x 3), stride 1, NHWC.

A tile of TILE x TILE outputs comes from SIZE x SIZE inputs, SIZE = TILE + 2, as ``A^T (U . V) A``
with ``U = G g G^T`` of the filters g, made when weights are packed, and ``V = B^T d B`` of the
inputs d.  The elementwise product over all channels and tiles is a matrix product for each of the
SIZE * SIZE points: for TILE = 4, 36 multiplications take the place of 144 (Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", arXiv:1509.09308).

Tiles are taken in chunks whose V stays in the L2 cache of the core that made it.  For a chunk and a
panel of NR = NV * LANES output channels, the products of all points go to M, which is transformed
into outputs while it is still in cache.  The share of a part is a contiguous range of (chunk, panel)
pairs; V and M are its own, so parts never wait for each other.  Where a chunk is shared, each part
makes its V: less work than a barrier costs.

Argument block (addresses in bytes; strides, pitches and sizes in float elements):

==  ==================================================================================
 0  in: first image         1  out: first image
 2  res: what RES adds, first image (ignored if RES is 0)
 3  U, float32 [panels][SIZE * SIZE][C][NR], 64-byte aligned
 4  bias, float32 [panels * NR]
 5  rows: int32 offsets of the MR tiles of a block of V, i * width
 6  zeros: NR zero floats
 7  scratch, 64-byte aligned: an area for each part
 8  areas: how many there are; parts beyond do nothing
 9  images    10  H    11  W    12  OH    13  OW    14  top    15  left
16  C         17  width: C rounded up to LANES
18  n_store: output channels stored, a multiple of LANES
19  capacity: tiles in a chunk, a multiple of MR
20  in pitch         21  out pitch           22  res pitch
23  in image stride  24  out image stride    25  res image stride
26  act a            27  act b, float32 bits
==  ==================================================================================

An area holds V [SIZE * SIZE][capacity * width, and LINE floats], then M [capacity][SIZE * SIZE][NR] or,
while V is made, the inputs of one border tile [SIZE * SIZE][width]: see ``area``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.activations import activate
from nbcnn.kernels.cpu.code.emit import I64, Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.igemm import products
from nbcnn.kernels.cpu.code.simd import arg, argf, literal, prefetch, vload, vstore, vzero

LINE = 16
"""Floats between the points of V, so that they do not all fall into the same set of a cache."""


# --- transforms: lines of vectors, each vector the same point of LANES channels -----------------


def _input_4(d: Sequence[V]) -> list[V]:
    """B^T d for F(4, 3), points 0, 1, -1, 2, -2 and infinity."""
    even, odd = emit.fma(d[2], -4.0, d[4]), emit.fma(d[1], -4.0, d[3])
    far, near = d[4] - d[2], d[3] - d[1]
    return [
        emit.fma(d[0], 4.0, emit.fma(d[2], -5.0, d[4])),
        even + odd,
        even - odd,
        emit.fma(near, 2.0, far),
        emit.fma(near, -2.0, far),
        emit.fma(d[1], 4.0, emit.fma(d[3], -5.0, d[5])),
    ]


def _output_4(m: Sequence[V]) -> list[V]:
    """A^T m for F(4, 3)."""
    sum1, difference1 = m[1] + m[2], m[1] - m[2]
    sum2, difference2 = m[3] + m[4], m[3] - m[4]
    return [
        (m[0] + sum1) + sum2,
        emit.fma(difference2, 2.0, difference1),
        emit.fma(sum2, 4.0, sum1),
        emit.fma(difference2, 8.0, difference1) + m[5],
    ]


def _input_2(d: Sequence[V]) -> list[V]:
    """B^T d for F(2, 3), points 0, 1, -1 and infinity."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]]


def _output_2(m: Sequence[V]) -> list[V]:
    """A^T m for F(2, 3)."""
    return [m[0] + (m[1] + m[2]), (m[1] - m[2]) + m[3]]


INPUT = {2: _input_2, 4: _input_4}
OUTPUT = {2: _output_2, 4: _output_4}
"""By TILE."""


def _both_ways(line: Callable[[Sequence[V]], list[V]], grid: list[list[V]]) -> list[list[V]]:
    """``line`` applied to every row of ``grid``, then to every column."""
    columns = zip(*[line(row) for row in grid], strict=True)
    return [list(row) for row in zip(*[line(column) for column in columns], strict=True)]


def _opaque(bd: Builder, x: Scalar) -> Scalar:
    """``x``, of which the optimiser knows nothing: it would keep a pointer for each point of a tile."""
    same = ir.InlineAsm(ir.FunctionType(I64, [I64]), "", "=r,0")
    return bd.call(same, [x])


@intrinsic(prefer_literal=True)
def _transform_input(tc, source, row_step, col_step, to, point_step, TILE, LANES):
    """V of one tile and LANES channels: from SIZE x SIZE vectors to places ``point_step`` apart at ``to``."""
    tile, lanes = literal(TILE, "TILE"), literal(LANES, "LANES")

    def emit_transform(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, row_step, col_step, to, point_step = args[:5]

        def places(start: Scalar, row_step: Scalar, col_step: Scalar) -> list[list[Scalar]]:
            grid = []
            for _ in range(tile + 2):
                row = _opaque(bd, start)
                grid.append([bd.add(row, bd.mul(col_step, i64(c))) for c in range(tile + 2)])
                start = bd.add(row, row_step)
            return grid

        grid = []
        next_tile = bd.mul(col_step, i64(tile))
        for row in places(source, row_step, col_step):
            grid.append([emit.load(bd, at, lanes) for at in row])
            for at in row[2:]:  # runs of a tile's width are too short for the CPU to foresee
                emit.prefetch(bd, bd.add(at, next_tile))
        results = _both_ways(INPUT[tile], grid)
        for row, points in zip(
            places(to, bd.mul(point_step, i64(tile + 2)), point_step), results, strict=True
        ):
            for at, x in zip(row, points, strict=True):
                emit.store(at, x, align=4 * lanes)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5, TILE, LANES), emit_transform


@intrinsic(prefer_literal=True)
def _transform_output(tc, at, TILE, NV, LANES):
    """The outputs of one tile and LANES channels, in place of its first TILE * TILE points."""
    tile, nv, lanes = literal(TILE, "TILE"), literal(NV, "NV"), literal(LANES, "LANES")
    size, step = tile + 2, 4 * nv * lanes

    def emit_transform(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        at = args[0]
        points = [emit.load(bd, bd.add(at, i64(step * e)), lanes) for e in range(size * size)]
        grid = [points[size * r : size * (r + 1)] for r in range(size)]
        results = [x for row in _both_ways(OUTPUT[tile], grid) for x in row]
        for i, x in enumerate(results):
            emit.store(bd.add(at, i64(step * i)), x)
        return context.get_dummy_value()

    return types.void(types.intp, TILE, NV, LANES), emit_transform


@intrinsic(prefer_literal=True)
def _multiply(tc, tiles, rows, zeros, u, c_bytes, to, step, ahead, MR, NV, LANES, UNROLL):
    """One point of MR tiles times one panel of U; the results lie ``step`` bytes apart at ``to``."""
    mr, nv, lanes, unroll = (
        literal(MR, "MR"), literal(NV, "NV"), literal(LANES, "LANES"), literal(UNROLL, "UNROLL")
    )  # fmt: skip

    def emit_multiply(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        tiles, rows, zeros, u, c_bytes, to, step, ahead = args[:8]
        sums = products(bd, mr, nv, lanes, unroll, [tiles, rows, zeros, u, c_bytes, i64(1)], zeros, ahead)
        for i, x in enumerate(sums):
            row = bd.add(to, bd.mul(step, i64(i // nv)))
            emit.store(bd.add(row, i64(4 * lanes * (i % nv))), x)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 8, MR, NV, LANES, UNROLL), emit_multiply


# --- the kernel -------------------------------------------------------------------------------


def area(tile: int, nr: int, width: int, capacity: int) -> tuple[int, int]:
    """Floats of V, and of the whole area of a part."""
    points = (tile + 2) ** 2
    v = points * (capacity * width + LINE)
    return v, v + points * max(capacity * nr, width)


def make(
    TILE: int, MR: int, NV: int, LANES: int, ACT: int, RES: int, UNROLL: int
) -> Callable[[int, int, int], None]:
    """Kernel for blocks of MR tiles x NV vectors of LANES channels.

    ACT is a code of ``activation_ids``; RES 0: no residual, 1: added before the activation,
    2: after it; UNROLL: channels per iteration of the product.
    """
    SIZE = TILE + 2
    POINTS = SIZE * SIZE
    NR = NV * LANES

    def winograd(args, part, parts):
        source, out, res, u, bias = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        rows, zeros = arg(args, 5), arg(args, 6)
        images, H, W, OH, OW = arg(args, 9), arg(args, 10), arg(args, 11), arg(args, 12), arg(args, 13)
        top, left, C, width, n_store = (
            arg(args, 14),
            arg(args, 15),
            arg(args, 16),
            arg(args, 17),
            arg(args, 18),
        )
        capacity = arg(args, 19)
        pixel, out_pixel, res_pixel = 4 * arg(args, 20), 4 * arg(args, 21), 4 * arg(args, 22)
        in_image, out_image, res_image = 4 * arg(args, 23), 4 * arg(args, 24), 4 * arg(args, 25)
        act_a, act_b = argf(args, 26), argf(args, 27)

        down, across = (OH + TILE - 1) // TILE, (OW + TILE - 1) // TILE
        tiles = images * down * across
        chunks, panels = (tiles + capacity - 1) // capacity, (n_store + NR - 1) // NR
        point_step = 4 * (capacity * width + LINE)
        v = arg(args, 7) + part * (POINTS * (point_step + 4 * max(capacity * NR, width)))
        m = v + POINTS * point_step

        parts = min(parts, arg(args, 8))
        at, stop = chunks * panels * part // parts, chunks * panels * (part + 1) // parts
        if part >= parts:
            stop = at
        made = -1
        while at < stop:
            chunk = at // panels
            panel = at - chunk * panels
            first = chunk * capacity
            count = min(capacity, tiles - first)
            if made != chunk:
                made = chunk
                for t in range(count):
                    line = (first + t) // across
                    image = line // down
                    y, x = (line - image * down) * TILE - top, (first + t - line * across) * TILE - left
                    base, row_step, col_step = source + image * in_image, W * pixel, pixel
                    if y >= 0 and x >= 0 and y + SIZE <= H and x + SIZE <= W:
                        base += y * row_step + x * pixel
                    else:
                        for p in range(POINTS):
                            py, px = y + p // SIZE, x + p % SIZE
                            inside = 0 <= py < H and 0 <= px < W
                            for i in range(0, 4 * width, 4 * LANES):
                                pixels = vzero(LANES)
                                if inside:
                                    pixels = vload(base + py * row_step + px * pixel + i, LANES)
                                vstore(m + 4 * width * p + i, pixels)
                        base, row_step, col_step = m, 4 * SIZE * width, 4 * width
                    to = v + 4 * t * width
                    for i in range(width // LANES):
                        step = 4 * LANES * i
                        _transform_input(base + step, row_step, col_step, to + step, point_step, TILE, LANES)
            for e in range(POINTS):
                right = u + 4 * NR * C * (panel * POINTS + e)
                for b in range(0, count, MR):
                    _multiply(
                        v + e * point_step + 4 * b * width, rows, zeros, right, 4 * C,
                        m + 4 * NR * (b * POINTS + e), 4 * NR * POINTS, 4 * NR * C, MR, NV, LANES, UNROLL,
                    )  # fmt: skip
            for t in range(count):
                line = (first + t) // across
                image = line // down
                y, x = (line - image * down) * TILE, (first + t - line * across) * TILE
                pixels = y * OW + x
                for j in range(min(NV, (n_store - panel * NR) // LANES)):
                    results, channel = m + 4 * (NR * POINTS * t + LANES * j), 4 * (panel * NR + LANES * j)
                    _transform_output(results, TILE, NV, LANES)
                    shift = vload(bias + channel, LANES)
                    for r in range(min(TILE, OH - y)):
                        to = out + image * out_image + (pixels + r * OW) * out_pixel + channel
                        other = res + image * res_image + (pixels + r * OW) * res_pixel + channel
                        for c in range(min(TILE, OW - x)):
                            value = vload(results + 4 * NR * (r * TILE + c), LANES) + shift
                            if RES == 1:
                                value = value + vload(other, LANES)
                            value = activate(value, ACT, act_a, act_b)
                            if RES == 2:
                                value = value + vload(other, LANES)
                            vstore(to, value)
                            prefetch(to + TILE * out_pixel)
                            to += out_pixel
                            other += res_pixel
            at += 1

    return winograd
