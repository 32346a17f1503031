"""Convolution with sparse filters over planes: only the weights that are not zero are multiplied.

Pixels lie along the vectors: each weight is broadcast and multiplied with NV vectors of the plane it
reads, and the sums of BLOCK output channels x NV vectors stay in registers (E. Elsen et al., "Fast
Sparse ConvNets", arXiv:1911.09723). Channels are taken in chunks, so that what a block of NV
vectors reads stays in the first cache; between chunks the sums wait in the output itself.

MODE says where a weight finds its pixels:

* 0 (direct): a 1x1 filter of stride 1 reads the planes as they lie;
* 1 (shift): the planes of a chunk are first copied to a panel, once for each tap, shifted: where the
  output is as wide as the input, a tap is a distance in memory, and a mask clears what lies outside;
* 2 (gather): the same for any geometry, by a table of offsets.

Argument block (addresses in bytes; pitches and strides in float elements; a vector is LANES floats):

==  ==================================================================================
 0  x: first image       1  out: first image     2  res: what RES adds (ignored if RES is 0)
 3  bias, float32 [GROUPS * BLOCK]
 4  starts, int32 [chunks][GROUPS + 1]: the first entry of each group of BLOCK output channels
 5  offsets, int32 [entries]: bytes, from the block's first pixel of x (direct) or in the panel
 6  values, float32 [entries][BLOCK]
 7  scratch: a panel for each part, 64-byte aligned (packed modes)
 8  panel floats         9  areas: how many panels there are; parts beyond do nothing
10  images              11  vectors of a plane of out     12  GROUPS      13  chunks
14  x image stride      15  x pitch of planes
16  out image stride    17  out pitch of planes
18  res image stride    19  res pitch of planes
20  C: channels of x    21  channels of a chunk            22  taps
23  shift: int32 [taps]: floats from an output pixel to the input pixel of the tap
24  shift: int32 [taps][vectors], the lanes that lie inside, as bits;
    gather: int32 [taps][vectors * LANES], floats from the plane, negative outside
25  act a, float32 bits 26  act b, float32 bits
==  ==================================================================================

Whole vectors of out are written, what pads a plane included. The share of a part is a contiguous
range of (image, block of vectors, share of the groups).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.activations import emit_activation
from nbcnn.kernels.cpu.code.emit import F32, I32, I64, Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.planes import load_inside, load_scattered
from nbcnn.kernels.cpu.code.simd import arg, argf, literal, load_i32

DIRECT, SHIFT, GATHER = 0, 1, 2
"""Values of MODE."""

_CHAINS = 16  # FMA latency (4 cycles) x FMAs a cycle (2): fewer sums than this would wait

_AHEAD = 2048  # bytes of weights to ask for ahead


# --- the product -----------------------------------------------------------------------------


def _sums(
    bd: Builder, block: int, nv: int, lanes: int, registers: int, start: list[Scalar], a: list[Scalar]
) -> list[V]:
    """``start`` plus weights times pixels, for the block x nv vectors of a group.

    ``a`` is values, offsets, the number of entries, x.
    """
    values, offsets, count, x = a
    width = 4 * lanes
    # Few sums would be chains of waiting: they are split over the entries, as far as registers reach.
    split = min(-(-_CHAINS // (block * nv)), max((registers - 1 - block) // (block * nv), 1))
    acc = start + [emit.zero(bd, lanes).v] * (block * nv * (split - 1))

    def entries(unroll: int) -> Callable[[Scalar, list[Scalar]], list[Scalar]]:
        def body(at: Scalar, carried: list[Scalar]) -> list[Scalar]:
            acc = list(carried)
            for u in range(unroll):
                place = bd.add(bd.mul(at, i64(block)), i64(4 * u * block))
                weights = [
                    emit.load_scalar(bd, bd.add(values, bd.add(place, i64(4 * r))), F32) for r in range(block)
                ]
                left = [emit.splat(bd, w, lanes) for w in weights]
                offset = emit.load_scalar(bd, bd.add(offsets, bd.add(at, i64(4 * u))), I32)
                pixels = bd.add(x, bd.sext(offset, I64))
                for v in range(nv):
                    right = emit.load(bd, bd.add(pixels, i64(v * width)), lanes)
                    for r in range(block):
                        c = (u % split * block + r) * nv + v
                        acc[c] = emit.fma(left[r], right, V(bd, acc[c])).v
            return acc

        return body

    for stream in (values, offsets):
        for line in range(2):
            emit.prefetch(bd, bd.add(stream, i64(_AHEAD + 64 * line)))
    unroll, end = max(split, 2), bd.shl(count, i64(2))
    whole = bd.sub(end, bd.srem(end, i64(4 * unroll)))
    acc = emit.loop(bd, i64(0), whole, 4 * unroll, acc, entries(unroll))
    acc = emit.loop(bd, whole, end, 4, acc, entries(1))
    sums = [V(bd, value) for value in acc[: block * nv]]
    for s in range(1, split):
        sums = [p + V(bd, q) for p, q in zip(sums, acc[s * block * nv :], strict=False)]
    return sums


@intrinsic(prefer_literal=True)
def _group(tc, block, nv, lanes, registers, act, res_kind,
           values, offsets, count, x, bias, first, last,
           out, out_pitch, res, res_pitch, act_a, act_b):  # fmt: skip
    """The sums of one group of output channels over one chunk; pitches in bytes."""
    constants = (block, nv, lanes, registers, act, res_kind)
    names = ("BLOCK", "NV", "LANES", "REGISTERS", "ACT", "RES")
    rows, n, wide, has, code, kind = (literal(c, name) for c, name in zip(constants, names, strict=True))
    width = 4 * wide

    def emit_group(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        values, offsets, count, x, bias, first, last, out, out_pitch, res, res_pitch, act_a, act_b = args[6:]

        def places(base: Scalar, pitch: Scalar) -> list[Scalar]:
            return [
                bd.add(bd.add(base, bd.mul(pitch, i64(r))), i64(v * width))
                for r in range(rows)
                for v in range(n)
            ]

        outs = places(out, out_pitch)
        with bd.if_else(bd.icmp_signed("!=", first, i64(0))) as (begin, resume):
            with begin:
                fresh = []
                for r in range(rows):
                    b = emit.load_scalar(bd, bd.add(bias, i64(4 * r)), F32)
                    fresh += [emit.splat(bd, b, wide).v] * n
                from_begin = bd.block
            with resume:
                kept = [emit.load(bd, at, wide).v for at in outs]
                from_resume = bd.block
        start = []
        for new, old in zip(fresh, kept, strict=True):
            phi = bd.phi(new.type)
            phi.add_incoming(new, from_begin)
            phi.add_incoming(old, from_resume)
            start.append(phi)
        sums = _sums(bd, rows, n, wide, has, start, [values, offsets, count, x])
        with bd.if_else(bd.icmp_signed("!=", last, i64(0))) as (finish, wait):
            with finish:
                a, b = emit.splat(bd, act_a, wide), emit.splat(bd, act_b, wide)
                if kind:
                    # Rows of the residual are far apart: the next group would wait for its own.
                    for at in places(bd.add(res, bd.mul(res_pitch, i64(rows))), res_pitch):
                        emit.prefetch(bd, at)
                for value, at, other in zip(sums, outs, places(res, res_pitch), strict=True):
                    if kind == 1:
                        value = value + emit.load(bd, other, wide)
                    value = emit_activation(code, value, a, b)
                    if kind == 2:
                        value = value + emit.load(bd, other, wide)
                    emit.store(at, value)
            with wait:
                for value, at in zip(sums, outs, strict=True):
                    emit.store(at, value)
        return context.get_dummy_value()

    return types.void(*constants, *[types.intp] * 11, types.float32, types.float32), emit_group


# --- panels ----------------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def _pack(tc, mode, nv, lanes, plane, pitch, table, to, step, channels):
    """The NV vectors that one tap reads of each channel; ``pitch``, ``step``: bytes to the next channel."""
    how, n, wide = literal(mode, "MODE"), literal(nv, "NV"), literal(lanes, "LANES")

    def emit_pack(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        plane, pitch, table, to, step, channels = args[3:]
        outside = emit.zero(bd, wide)
        width = 4 * wide
        # What lies inside is the same for all channels: it stays in registers.
        if how == SHIFT:
            bits = [emit.load_scalar(bd, bd.add(table, i64(4 * v)), I32) for v in range(n)]

        def channel(c: Scalar, carried: list[Scalar]) -> list[Scalar]:
            source, there = carried
            for v in range(n):
                if how == SHIFT:
                    x = load_inside(bd, bd.add(source, i64(width * v)), bits[v], outside)
                else:
                    x = load_scattered(bd, source, bd.add(table, i64(width * v)), outside)
                emit.store(bd.add(there, i64(width * v)), x)
            return [bd.add(source, pitch), bd.add(there, step)]

        emit.loop(bd, i64(0), channels, 1, [plane, to], channel)
        return context.get_dummy_value()

    return types.void(mode, nv, lanes, *[types.intp] * 6), emit_pack


def make(
    BLOCK: int, NV: int, TAIL: int, MODE: int, LANES: int, REGISTERS: int, ACT: int, RES: int
) -> Callable[[int, int, int], None]:
    """Kernel for groups of BLOCK output channels x blocks of NV vectors.

    TAIL counts the vectors of a last, shorter block (0: none), REGISTERS those that hold vectors.
    ACT is a code of ``activation_ids``; RES 0: no residual, 1: added before the activation, 2: after it.
    """
    WIDTH = 4 * LANES

    def sparse(args, part, parts):
        x, out, res, bias = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        starts, offsets, values = arg(args, 4), arg(args, 5), arg(args, 6)
        panel = arg(args, 7) + 4 * part * arg(args, 8)
        images, vectors, groups, chunks = arg(args, 10), arg(args, 11), arg(args, 12), arg(args, 13)
        x_image, x_pitch = 4 * arg(args, 14), 4 * arg(args, 15)
        out_image, out_pitch = 4 * arg(args, 16), 4 * arg(args, 17)
        res_image, res_pitch = 4 * arg(args, 18), 4 * arg(args, 19)
        channels, chunk_channels, taps = arg(args, 20), arg(args, 21), arg(args, 22)
        shifts, inside = arg(args, 23), arg(args, 24)
        act_a, act_b = argf(args, 25), argf(args, 26)

        if MODE != 0:
            parts = min(parts, arg(args, 9))
        if part >= parts:
            return
        blocks = (vectors + NV - 1) // NV
        # Few blocks do not divide well: then the output channels are divided too.
        shares = 1 if blocks * images >= 8 * parts or blocks * images % parts == 0 else parts
        total = images * blocks * shares
        unit, stop = total * part // parts, total * (part + 1) // parts
        while unit < stop:
            block = unit // shares
            share = unit - block * shares
            until = min(shares, share + stop - unit)  # shares of one block that follow each other are one
            unit += until - share
            image = block // blocks
            at = (block - image * blocks) * NV * WIDTH
            left = vectors - (block - image * blocks) * NV
            source = x + image * x_image
            to, other = out + image * out_image + at, res + image * res_image + at
            begin, end = groups * share // shares, groups * until // shares
            for chunk in range(chunks):
                pixels = source + at
                if MODE != 0:
                    pixels = panel
                    first_channel = chunk * chunk_channels
                    count = min(chunk_channels, channels - first_channel)
                    plane = source + first_channel * x_pitch
                    for t in range(taps):
                        table = inside + (4 if MODE == 1 else WIDTH) * (t * vectors + at // WIDTH)
                        there = plane + at + 4 * load_i32(shifts + 4 * t) if MODE == 1 else plane
                        place = panel + t * NV * WIDTH
                        if TAIL == 0 or left >= NV:
                            _pack(MODE, NV, LANES, there, x_pitch, table, place, taps * NV * WIDTH, count)
                        else:
                            _pack(MODE, TAIL, LANES, there, x_pitch, table, place, taps * NV * WIDTH, count)
                line = starts + 4 * chunk * (groups + 1)
                first, last = 1 if chunk == 0 else 0, 1 if chunk == chunks - 1 else 0
                entry = load_i32(line + 4 * begin)
                for g in range(begin, end):
                    following = load_i32(line + 4 * (g + 1))
                    count = following - entry
                    if count > 0 or first or last:
                        if TAIL == 0 or left >= NV:
                            _group(
                                BLOCK, NV, LANES, REGISTERS, ACT, RES,
                                values + 4 * BLOCK * entry, offsets + 4 * entry, count, pixels,
                                bias + 4 * BLOCK * g, first, last,
                                to + BLOCK * g * out_pitch, out_pitch,
                                other + BLOCK * g * res_pitch, res_pitch, act_a, act_b,
                            )  # fmt: skip
                        else:
                            _group(
                                BLOCK, TAIL, LANES, REGISTERS, ACT, RES,
                                values + 4 * BLOCK * entry, offsets + 4 * entry, count, pixels,
                                bias + 4 * BLOCK * g, first, last,
                                to + BLOCK * g * out_pitch, out_pitch,
                                other + BLOCK * g * res_pitch, res_pitch, act_a, act_b,
                            )  # fmt: skip
                    entry = following

    return sparse
