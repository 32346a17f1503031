"""First layers of wide filters and stride 2: fast filtering F(4, 4) along the rows.

A row of up to 8 taps at stride 2 is two rows of up to 4 taps at stride 1, one over the even and one over the
odd pixels, which lie side by side: 2 * C floats for each step of two pixels. Four outputs of four taps cost 7
products instead of 16, and the sum over the filter's rows and channels stays between the transforms:

    out[4 t + i] = sum over p of A^T[i, p] * (sum over k of U[p, k] * V[p, t, k]),    k = (row, parity, c)

(S. Winograd; matrices in ``nbcnn.kernels.cpu.toom_cook``.)

Argument block (addresses in bytes; strides, pitches and sizes in float elements):

==  ==================================================================================
 0  in: first image, inside a border of zeros            1  out: first image
 2  U, float32 [panels][7][KH * 2C][NR], 64-byte aligned
 3  bias, float32 [panels * NR]
 4  rows: int32 offsets of the MR tiles of a block of V, i * DEPTH
 5  zeros: at least NR and KH * 2C zero floats
 6  scratch, 64-byte aligned: an area for each part      7  areas: parts beyond do nothing
 8  images      9  OH     10  OW    11  KH    12  vertical stride
13  line: floats of an input row    14  2C
15  n_store: output channels stored, a multiple of LANES
16  ROWS: output rows of a chunk
17  in image stride     18  out image stride     19  out pitch
20  act a, float32 bits 21  act b, float32 bits
22  point: floats of V at one point             23  area: floats of an area
==  ==================================================================================

An area holds V [7][tiles][DEPTH], DEPTH = 2C floats for each input row of a chunk, then M [tiles][7][NR], the
tiles rounded up to MR.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.activations import activate
from nbcnn.kernels.cpu.code.emit import Builder, Scalar, i64
from nbcnn.kernels.cpu.code.igemm import products
from nbcnn.kernels.cpu.code.simd import arg, argf, literal, vload, vstore
from nbcnn.kernels.cpu.code.winograd_transform import combined
from nbcnn.kernels.cpu.toom_cook import algorithm

ROW = algorithm(4, 4)
POINTS, TILE = ROW.size, ROW.outputs


@intrinsic(prefer_literal=True)
def _input(tc, source, step, to, point, LANES):
    """V of LANES floats of one row of a tile: inputs are ``step`` bytes apart, results ``point`` bytes."""
    lanes = literal(LANES, "LANES")

    def emit_input(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        source, step, to, point, _ = args
        xs = [emit.load(bd, bd.add(source, bd.mul(step, i64(i))), lanes) for i in range(POINTS)]
        for p, x in enumerate(combined(ROW.input, xs)):
            emit.store(bd.add(to, bd.mul(point, i64(p))), x)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4, LANES), emit_input


@intrinsic(prefer_literal=True)
def _output(tc, at, NR, LANES):
    """The four outputs of a tile for LANES channels, in place of its first points."""
    lanes, nr = literal(LANES, "LANES"), literal(NR, "NR")

    def emit_output(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        xs = [emit.load(bd, bd.add(args[0], i64(4 * nr * p)), lanes) for p in range(POINTS)]
        for i, x in enumerate(combined(ROW.output, xs)):
            emit.store(bd.add(args[0], i64(4 * nr * i)), x)
        return context.get_dummy_value()

    return types.void(types.intp, NR, LANES), emit_output


@intrinsic(prefer_literal=True)
def _multiply(tc, tiles, rows, zeros, u, k_bytes, to, MR, NV, LANES, UNROLL):
    """One point of MR tiles times one panel of U."""
    mr, nv, lanes, unroll = (
        literal(MR, "MR"), literal(NV, "NV"), literal(LANES, "LANES"), literal(UNROLL, "UNROLL")
    )  # fmt: skip

    def emit_multiply(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        tiles, rows, zeros, u, k_bytes, to = args[:6]
        sums = products(bd, mr, nv, lanes, unroll, [tiles, rows, zeros, u, k_bytes, i64(1)], zeros)
        for i, x in enumerate(sums):
            place = 4 * lanes * (POINTS * nv * (i // nv) + i % nv)
            emit.store(bd.add(to, i64(place)), x)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6, MR, NV, LANES, UNROLL), emit_multiply


def make(MR: int, NV: int, LANES: int, ACT: int, UNROLL: int) -> Callable[[int, int, int], None]:
    """Kernel for blocks of MR tiles x NV vectors of LANES channels."""
    NR = NV * LANES

    def winograd_stem(args, part, parts):
        source, out, u, bias, rows, zeros = (
            arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4), arg(args, 5))  # fmt: skip
        images, OH, OW, KH, stride = arg(args, 8), arg(args, 9), arg(args, 10), arg(args, 11), arg(args, 12)
        line, pair, n_store, chunk_rows = 4 * arg(args, 13), arg(args, 14), arg(args, 15), arg(args, 16)
        in_image, out_image, pitch = 4 * arg(args, 17), 4 * arg(args, 18), 4 * arg(args, 19)
        act_a, act_b = argf(args, 20), argf(args, 21)
        point = 4 * arg(args, 22)
        v = arg(args, 6) + 4 * part * arg(args, 23)
        m = v + POINTS * point

        parts = min(parts, arg(args, 7))
        if part >= parts:
            return
        tiles, panels = (OW + TILE - 1) // TILE, (n_store + NR - 1) // NR
        depth = 4 * pair * ((chunk_rows - 1) * stride + KH)
        k_bytes = 4 * pair * KH
        chunks = (OH + chunk_rows - 1) // chunk_rows
        for unit in range(images * chunks * part // parts, images * chunks * (part + 1) // parts):
            image = unit // chunks
            first = (unit - image * chunks) * chunk_rows
            count = min(chunk_rows, OH - first)
            above = source + image * in_image + first * stride * line
            for t in range(tiles):
                for row in range((count - 1) * stride + KH):
                    at, to = above + row * line + 4 * t * TILE * pair, v + t * depth + 4 * row * pair
                    for c in range(0, pair, LANES):
                        _input(at + 4 * c, 4 * pair, to + 4 * c, point, LANES)
            for y in range(count):
                seen = v + 4 * y * stride * pair
                here = out + image * out_image + (first + y) * OW * pitch
                for panel in range(panels):
                    for p in range(POINTS):
                        right = u + NR * k_bytes * (panel * POINTS + p)
                        for t in range(0, tiles, MR):
                            _multiply(
                                seen + p * point + t * depth, rows, zeros, right, k_bytes,
                                m + 4 * NR * (t * POINTS + p), MR, NV, LANES, UNROLL,
                            )  # fmt: skip
                    for t in range(tiles):
                        for j in range(min(NV, (n_store - panel * NR) // LANES)):
                            results, channel = m + 4 * (NR * POINTS * t + LANES * j), panel * NR + LANES * j
                            _output(results, NR, LANES)
                            shift = vload(bias + 4 * channel, LANES)
                            to = here + TILE * t * pitch + 4 * channel
                            for i in range(min(TILE, OW - TILE * t)):
                                value = vload(results + 4 * NR * i, LANES) + shift
                                vstore(to + i * pitch, activate(value, ACT, act_a, act_b))

    return winograd_stem
