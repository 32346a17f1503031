"""Indirect GEMM over NHWC: every dense convolution and every fully connected layer.

The left matrix is never formed: row i of a block of MR output pixels reads, for each tap of the
filter, K consecutive floats (the channels) at an offset that an int32 table holds, so one
micro-kernel serves every stride, padding and dilation (M. Dukhan, "The Indirect
Convolution Algorithm", arXiv:1907.02129).  The right matrix is packed in panels of NR = NV * LANES
output channels.  A tile of MR x NR accumulators stays in registers over all taps and channels.

Argument block (addresses in bytes; strides, pitches and steps in float elements):

==  ==================================================================================
 0  a: input, first image
 1  table: int32 offsets in elements from the image (and group) base; NO_ROW: zeros
 2  zeros: at least K zero floats
 3  weights, float32 [groups][panels][taps * K][NR], 64-byte aligned
 4  bias, float32 [groups][panels * NR]
 5  out, first image
 6  res: what RES adds, first image (ignored if RES is 0)
 7  K: channels per tap, contiguous
 8  taps
 9  rows per image, P
10  images
11  a image stride
12  out image stride      13  out pixel pitch
14  res image stride      15  res pixel pitch
16  n_store: output channels stored per group; panels = ceil(n_store / NR)
17  groups                18  a group stride       19  out and res group stride
20  a step per block of MR rows (0 unless one table block serves all)
21  table step per block of MR rows, in int32 entries (0 if one table block serves all)
22  act a, float32 bits   23  act b, float32 bits
24  order: 0 panels outer, row blocks inner; 1 row blocks outer, panels inner
==  ==================================================================================

Row i of block p at tap t reads K floats from
``a + image * [11] + group * [18] + p * [20] + table[p * [21] + t * MR + i]``.
Rows past P in the last block are read (the table repeats a valid row, or the arena has slack) and
never stored.  The share of a part is a contiguous range of tiles, blocks never straddle images.

What a run of tiles keeps (a panel of weights, or a block of rows) is fetched during the run before it,
some lines in each iteration.  GFLOP/s at a peak of 250: ResNet-50's 1x1 over 7x7 from 189-206 to 226-237,
over 14x14 with a residual from 224 to 238; MobileNetV2's over 7x7 from 200 to 235; batch 8 of ResNet-50's
over 56x56, whose rows come from memory, from 164-182 to 230.  Prefetching into L2 alone took as long;
the lines of the output as well was slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.activations import CHEAP, emit_activation
from nbcnn.kernels.cpu.code.emit import F32, I8, I32, Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.simd import arg, argf, literal

NO_ROW = -(2**31)
"""Table entry of a row that lies in the padding: it reads zeros."""

_CHAINS = 8  # FMA latency (4 cycles) x FMAs a cycle (2): fewer accumulators than this would wait
_LATER = 2  # lines of later operands that an iteration prefetches: 7 blocks of 4 channels do with 8 / 7
_AHEAD = 2048  # bytes of weights to prefetch ahead, where a tile streams them from memory


def products(
    bd: Builder,
    mr: int,
    nv: int,
    lanes: int,
    unroll: int,
    a: list[Scalar],
    bias: Scalar,
    ahead: Scalar | None = None,
    later: tuple[Scalar, Scalar] | None = None,
    share: int = 1,
) -> list[V]:
    """bias + sum over taps and channels, for the mr x nv vectors of a tile, row by row.

    ``a`` is base, table, zeros, weights, K in bytes, taps.  Weights are prefetched ``ahead`` bytes
    before their use; ``later`` is where the operands of later tiles are, of which `_LATER` lines are
    prefetched every ``unroll`` channels, and the bytes from one to the next. ``share`` is as in `make`.
    """
    base, table, zeros, weights, k_bytes, taps = a
    width = 4 * lanes
    # A tile of few rows has too few chains of dependent FMAs: split the sum over k.
    split = min(unroll, -(-_CHAINS // (mr * nv)))
    row = [emit.load(bd, bd.add(bias, i64(j * width)), lanes, align=4).v for j in range(nv)]
    acc = row * mr + [emit.zero(bd, lanes).v] * (mr * nv * (split - 1))

    def steps(count: int, rows: list[Scalar]) -> Callable[[Scalar, list[Scalar]], list[Scalar]]:
        def body(k: Scalar, carried: list[Scalar]) -> list[Scalar]:
            at, further, *acc = carried
            if later is not None and count == unroll:
                for _ in range(_LATER):
                    emit.prefetch(bd, further)
                    further = bd.add(further, later[1])
            for u in range(count):
                right = []
                for j in range(nv):
                    place = bd.add(at, i64((u * nv + j) * width))
                    right.append(emit.load(bd, place, lanes, align=width))
                    if ahead is not None and (u * nv + j) * width % 64 == 0:
                        emit.prefetch(bd, bd.add(place, ahead))
                for i in range(mr):
                    if share > 1:
                        left = emit.spread(emit.load(bd, rows[i], lanes), u, lanes // share)
                    else:
                        value = emit.load_scalar(bd, bd.add(bd.add(rows[i], k), i64(4 * u)), F32)
                        left = emit.splat(bd, value, lanes)
                    for j in range(nv):
                        c = (u % split * mr + i) * nv + j
                        acc[c] = emit.fma(left, right[j], V(bd, acc[c])).v
            return [bd.add(at, i64(count * nv * width)), further, *acc]

        return body

    def tap(t: Scalar, carried: list[Scalar]) -> list[Scalar]:
        rows = []
        for i in range(mr):
            entry = bd.add(table, bd.mul(t, i64(4 * mr)))
            offset = emit.load_scalar(bd, bd.add(entry, i64(4 * i)), I32)
            there = bd.add(base, bd.shl(bd.sext(offset, emit.I64), i64(2)))
            absent = bd.icmp_signed("==", offset, ir.Constant(I32, NO_ROW))
            rows.append(bd.select(absent, zeros, there))
        start = i64(0)
        if share > 1:
            return steps(unroll, rows)(start, carried)
        if unroll > 1:
            whole = bd.sub(k_bytes, bd.srem(k_bytes, i64(4 * unroll)))
            carried = emit.loop(bd, start, whole, 4 * unroll, carried, steps(unroll, rows))
            start = whole
        return emit.loop(bd, start, k_bytes, 4, carried, steps(1, rows))

    further = later[0] if later is not None else i64(0)
    acc = emit.loop(bd, i64(0), taps, 1, [weights, further, *acc], tap)[2:]
    sums = [V(bd, value) for value in acc[: mr * nv]]
    for s in range(1, split):
        sums = [x + V(bd, y) for x, y in zip(sums, acc[s * mr * nv :], strict=False)]
    return sums


def _finish(bd: Builder, tile: list[V], mr: int, nv: int, act: int, res_kind: int, a: list[Scalar]) -> None:
    """Residual, activation and store of a tile.

    ``a`` is out, res, rows to store, channels to store, out pitch and res pitch in bytes, and the
    two arguments of the activation.
    """
    out, res, rows, cols, out_pitch, res_pitch, act_a, act_b = a
    lanes = tile[0].lanes
    width = 4 * lanes
    act_a, act_b = emit.splat(bd, act_a, lanes), emit.splat(bd, act_b, lanes)

    def value(x: V, load_res: Callable[[], V]) -> V:
        if res_kind == 1:
            x = x + load_res()
        x = emit_activation(act, x, act_a, act_b)
        return x + load_res() if res_kind == 2 else x

    def unrolled() -> None:
        for i in range(mr):
            to = bd.add(out, bd.mul(out_pitch, i64(i)))
            other = bd.add(res, bd.mul(res_pitch, i64(i)))
            for j in range(nv):
                place = bd.add(other, i64(j * width))
                x = value(tile[i * nv + j], lambda at=place: emit.load(bd, at, lanes))
                emit.store(bd.add(to, i64(j * width)), x)

    def row_by_row(whole: bool) -> None:
        # Through memory, so that the code of a row exists once: an exponential for each vector of
        # the tile would be far larger than the product itself, and is no faster.
        scratch = cgutils.alloca_once(bd, ir.ArrayType(I8, mr * nv * width))
        scratch = bd.ptrtoint(scratch, emit.I64)
        for c, x in enumerate(tile):
            emit.store(bd.add(scratch, i64(c * width)), x)

        def row(i: Scalar, carried: list[Scalar]) -> list[Scalar]:
            source, to, other = carried
            for j in range(nv):
                x = emit.load(bd, bd.add(source, i64(j * width)), lanes)
                place = bd.add(other, i64(j * width))
                left = i64(lanes) if whole else bd.sub(cols, i64(j * lanes))
                x = value(x, lambda at=place, n=left: emit.load_first(bd, at, n, lanes))
                emit.store_first(bd.add(to, i64(j * width)), x, left)
            source = bd.add(source, i64(nv * width))
            return [source, bd.add(to, out_pitch), bd.add(other, res_pitch)]

        emit.loop(bd, i64(0), i64(mr) if whole else rows, 1, [scratch, out, res], row)

    # Masks at the edges alone: on every vector they would double what a sigmoid costs.
    all_rows = bd.icmp_signed(">=", rows, i64(mr))
    all_cols = bd.icmp_signed(">=", cols, i64(nv * lanes))
    with bd.if_else(bd.and_(all_rows, all_cols), likely=True) as (then, otherwise):
        with then:
            unrolled() if act in CHEAP else row_by_row(True)
        with otherwise:
            row_by_row(False)


@intrinsic(prefer_literal=True)
def _tile(tc, mr, nv, lanes, act, res_kind, unroll, share,
          base, table, zeros, weights, k_bytes, taps, bias,
          out, res, rows, cols, out_pitch, res_pitch, later, later_step, next_res, act_a, act_b):  # fmt: skip
    """One tile of the product; addresses and pitches in bytes, rows and cols: what to store.

    ``later`` is as in `products`; ``next_res`` is the residual of the next tile.
    """
    names = ("MR", "NV", "LANES", "ACT", "RES", "UNROLL", "SHARE")
    constants = (mr, nv, lanes, act, res_kind, unroll, share)
    values = [literal(c, name) for c, name in zip(constants, names, strict=True)]
    m, n, wide, code, kind, u, groups = values

    def emit_tile(context: Any, bd: Any, sig: Any, args: Any) -> Any:
        a = list(args[7:])
        if kind:
            # Rows of the residual are far apart: the CPU does not foresee them, and without this
            # the tile would wait for them at its end (56x56x256: 110 against 200 GFLOP/s).
            for i in range(m):
                for byte in range(0, 4 * n * wide, 64):
                    emit.prefetch(bd, bd.add(bd.add(a[15], bd.mul(a[12], i64(i))), i64(byte)))
        ahead = i64(_AHEAD) if m == 1 else None
        later = (a[13], a[14]) if m > 1 and n > 1 else None  # one vector: it has no loads to spare
        tile = products(bd, m, n, wide, u, a[:6], a[6], ahead, later, groups)
        _finish(bd, tile, m, n, code, kind, [*a[7:13], *a[16:]])
        return context.get_dummy_value()

    return types.void(*constants, *[types.intp] * 16, types.float32, types.float32), emit_tile


def make(
    MR: int, NV: int, LANES: int, ACT: int, RES: int, UNROLL: int, SHARE: int = 1
) -> Callable[[int, int, int], None]:
    """Kernel for tiles of MR pixels x NV vectors of LANES channels.

    ACT is a code of ``activation_ids``; RES 0: no residual, 1: added before the activation,
    2: after it; UNROLL: channels per iteration (any K works, multiples of UNROLL are fastest).
    ``nbcnn.kernels.cpu.tiles`` chooses MR, NV and UNROLL.

    SHARE > 1: so many groups of a grouped convolution share a vector, and count as one group of the
    argument block. A filter reads as many channels as its group has filters, K = LANES / SHARE = UNROLL,
    and NV is 1; a row has LANES floats at a tap. 32 groups of 4 channels over 56x56, the waste of
    three lanes in four avoided: 0.95 to 0.19 ms, 32 of 8 over 28x28 0.41 to 0.21.
    """
    NR = NV * LANES
    LATER = _LATER

    def igemm(args, part, parts):
        a, table, zeros, weights, bias = (
            arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4))  # fmt: skip
        out, res, k, taps, pixels = (
            arg(args, 5), arg(args, 6), arg(args, 7), arg(args, 8), arg(args, 9))  # fmt: skip
        images, n_store, groups, order = arg(args, 10), arg(args, 16), arg(args, 17), arg(args, 24)
        out_pitch, res_pitch = 4 * arg(args, 13), 4 * arg(args, 15)
        block_out, block_res = MR * out_pitch, MR * res_pitch
        a_step, table_step = 4 * arg(args, 20), 4 * arg(args, 21)
        act_a, act_b = argf(args, 22), argf(args, 23)

        blocks, panels = (pixels + MR - 1) // MR, (n_store + NR - 1) // NR
        inner, outer = (blocks, panels) if order == 0 else (panels, blocks)
        panel_bytes = 4 * NR * taps * k
        # Tiles prefetch the next panel in equal shares; or the next block of rows, where blocks are
        # the outer loop or there is one panel only.
        streamed, shares = (panel_bytes, blocks) if order == 0 and panels > 1 else (a_step, panels)
        share = (streamed + shares - 1) // shares
        lines = (taps * k + UNROLL - 1) // UNROLL * LATER
        later_step = min((share + lines - 1) // lines, 64)
        total = images * groups * inner * outer
        at, stop = total * part // parts, total * (part + 1) // parts
        while at < stop:
            # One run of the inner loop, or the part of it that is in our share.
            line = at // inner
            first = at - line * inner
            last = min(inner, first + stop - at)
            plane = line // outer
            fixed = line - plane * outer
            image = plane // groups
            group = plane - image * groups
            to = out + 4 * (image * arg(args, 12) + group * arg(args, 19))
            other = res + 4 * (image * arg(args, 14) + group * arg(args, 19))
            base = a + 4 * (image * arg(args, 11) + group * arg(args, 18))
            first_panel = group * panels
            block, panel = (first, fixed) if order == 0 else (fixed, first)
            if order == 1 or panels == 1:
                later = base + (block + 1) * a_step + panel * share
            else:
                later = weights + (first_panel + panel + 1) * panel_bytes + block * share
            next_res = other + block * block_res + panel * (4 * NR)
            for i in range(first, last):
                block, panel = (i, fixed) if order == 0 else (fixed, i)
                tile_res = next_res
                if i + 1 < last:
                    next_res += block_res if order == 0 else 4 * NR
                _tile(
                    MR, NV, LANES, ACT, RES, UNROLL, SHARE,
                    base + block * a_step, table + block * table_step, zeros,
                    weights + (first_panel + panel) * panel_bytes, 4 * k, taps,
                    bias + (first_panel + panel) * (4 * NR),
                    to + block * block_out + panel * (4 * NR), tile_res,
                    min(MR, pixels - block * MR), n_store - panel * NR, out_pitch, res_pitch,
                    later, later_step, next_res, act_a, act_b,
                )  # fmt: skip
                later += share
            at += last - first

    return igemm
