"""Depthwise convolution, NHWC: every channel has a filter of its own (multiplier 1).

A vector holds LANES channels of one pixel.  A tile is WB output pixels of a row: their sums stay in
registers while the rows of the filter go by, and each input vector is loaded once for all the taps
of a row that it meets.  Rows of the filter outside the image are skipped; a tile that touches the
left or right border reads zeros there.  A group of vectors goes through all rows before the next
one, so that the rows under the filter are still in the first-level cache when the next output row
needs them.  (Pitches that are multiples of 512 floats defeat that cache: its sets repeat every
4 KiB.  Such layers run up to 1.4 times slower than with a pitch of one more vector.)

Dilation: output pixels ``phase, phase + DW, phase + 2 DW, ...`` read input columns of one residue
class, so each class is an undilated convolution of pixels that lie DW apart.

==  ===============================================================================
 0  in           1  out          2  res: what RES adds (ignored if RES is 0)
 3  weights, float32 [panel][taps][LANES]
 4  bias, float32 [width]
 5  images       6  H            7  W         8  OH        9  OW
10  top         11  left        12  DH       13  DW
14  width: channels, a multiple of LANES
15  in pitch    16  out pitch   17  res pitch
18  in          19  out         20  res image stride
21  act a       22  act b       (float32 bits)
23  KH          24  KW          25  SH       26  SW       (make_generic only)
==  ===============================================================================

Addresses are in bytes, pitches and strides in floats.  RES: 0 none, 1 added before the activation,
2 after it; it may be the output itself.  The share of a part is a range of output rows, or of
channel vectors where that divides better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.activations import CHEAP, activate, emit_activation
from nbcnn.kernels.cpu.code.emit import I8, I64, Builder, Scalar, V, i64
from nbcnn.kernels.cpu.code.simd import arg, argf, literal, vfma, vload, vstore

_GROUP = 128
"""Channels that go through the whole image together: the rows that a filter spans should stay in
the first-level cache, yet each pixel should be read in a run of some cache lines."""


def _zeros(bd: Builder, lanes: int) -> Scalar:
    """The address of a vector of zeros."""
    kind = ir.ArrayType(emit.F32, lanes)
    name = f"nbcnn_zeros_{lanes}"
    zeros = bd.module.globals.get(name)
    if zeros is None:
        zeros = cgutils.global_constant(bd.module, name, ir.Constant(kind, [0.0] * lanes))
    return bd.ptrtoint(zeros, I64)


def _sums(
    bd: Builder, kw: int, sw: int, wb: int, lanes: int, a: list[Scalar], border: list[Scalar] | None
) -> list[V]:
    """bias + products of ``wb`` output pixels.

    ``a`` is the address of the first input column in the first row, column step, row step, rows of
    the filter, its address, bias.  ``border`` is the number of the first column, the distance of
    columns and the width of the image, where columns may lie outside.
    """
    source, col_step, row_step, rows, weights, bias = a
    size = 4 * lanes
    zeros = _zeros(bd, lanes) if border else None

    def row(_: Scalar, carried: list[Scalar]) -> list[Scalar]:
        start, w, *acc = carried
        taps = [emit.load(bd, bd.add(w, i64(k * size)), lanes) for k in range(kw)]
        # Else LLVM would keep a pointer of its own, in memory, for every column and pixel of a tile, and
        # advance them all with each vector of channels: more work than the convolution.
        at = emit.opaque(bd, start)
        for j in range((wb - 1) * sw + kw):
            place = at
            if border:
                first, distance, width = border
                column = bd.add(first, bd.mul(distance, i64(j)))
                # One unsigned comparison: a negative column is a huge one.
                place = bd.select(bd.icmp_unsigned("<", column, width), at, zeros)
            x = emit.load(bd, place, lanes)
            for k in range(kw):
                i, other = divmod(j - k, sw)
                if other == 0 and 0 <= i < wb:
                    acc[i] = emit.fma(x, taps[k], V(bd, acc[i])).v
            at = bd.add(at, col_step)
        return [bd.add(start, row_step), bd.add(w, i64(kw * size)), *acc]

    acc = [emit.load(bd, bias, lanes).v] * wb
    return [V(bd, x) for x in emit.loop(bd, i64(0), rows, 1, [source, weights, *acc], row)[2:]]


def _finish(bd: Builder, tile: list[V], act: int, res_kind: int, a: list[Scalar]) -> None:
    """Residual, activation and store of the first pixels of a tile.

    ``a`` is out, its step, res, its step, the number of pixels, the activation's arguments.
    """
    out, out_step, res, res_step, n, act_a, act_b = a
    lanes = tile[0].lanes
    act_a, act_b = emit.splat(bd, act_a, lanes), emit.splat(bd, act_b, lanes)
    start = [emit.opaque(bd, out), emit.opaque(bd, res) if res_kind else res]

    def pixel(x: V, to: Scalar, other: Scalar) -> list[Scalar]:
        if res_kind == 1:
            x = x + emit.load(bd, other, lanes)
        x = emit_activation(act, x, act_a, act_b)
        if res_kind == 2:
            x = x + emit.load(bd, other, lanes)
        emit.store(to, x)
        return [bd.add(to, out_step), bd.add(other, res_step) if res_kind else other]

    def unrolled() -> None:
        places = start
        for x in tile:
            places = pixel(x, *places)

    def one_by_one(n: Scalar) -> None:
        # Through memory: any number of pixels, and the code of the activation exists once.
        scratch = bd.ptrtoint(cgutils.alloca_once(bd, ir.ArrayType(I8, 4 * lanes * len(tile))), I64)
        for i, x in enumerate(tile):
            emit.store(bd.add(scratch, i64(4 * lanes * i)), x)

        def body(i: Scalar, places: list[Scalar]) -> list[Scalar]:
            return pixel(emit.load(bd, bd.add(scratch, bd.mul(i, i64(4 * lanes))), lanes), *places)

        emit.loop(bd, i64(0), n, 1, start, body)

    with bd.if_else(bd.icmp_signed("==", n, i64(len(tile))), likely=True) as (whole, some):
        with whole:
            unrolled() if act in CHEAP else one_by_one(i64(len(tile)))
        with some:
            one_by_one(n)


@intrinsic(prefer_literal=True)
def _tile(
    tc, source, col_step, row_step, rows, weights, bias, first, distance, width,
    out, out_step, res, res_step, n, act_a, act_b, KW, SW, WB, ACT, RES, BORDER, LANES,
):  # fmt: skip
    """``n`` <= WB output pixels of a row, for one vector of channels.

    With BORDER, input column ``first + j * distance`` is zero if it lies outside 0..width; without,
    all columns are inside.
    """
    names = ("KW", "SW", "WB", "ACT", "RES", "BORDER", "LANES")
    literals = (KW, SW, WB, ACT, RES, BORDER, LANES)
    kw, sw, wb, act, res_kind, border, lanes = map(literal, literals, names)

    def emit_tile(context: Any, bd: Builder, sig: Any, args: Any) -> Scalar:
        checks = list(args[6:9]) if border else None
        _finish(bd, _sums(bd, kw, sw, wb, lanes, list(args[:6]), checks), act, res_kind, list(args[9:16]))
        return context.get_dummy_value()

    word = types.intp
    return types.void(*[word] * 14, types.float32, types.float32, *literals), emit_tile


def make(
    KH: int, KW: int, SH: int, SW: int, WB: int, ACT: int, RES: int, LANES: int
) -> Callable[[int, int, int], None]:
    """A kernel for one size and stride of the filter; WB pixels in registers."""
    GROUP = max(1, _GROUP // LANES)

    def depthwise(args, part, parts):
        source, out, res, weights, bias = (
            arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        )  # fmt: skip
        images, H, W, OH, OW = arg(args, 5), arg(args, 6), arg(args, 7), arg(args, 8), arg(args, 9)
        top, left, DH, DW = arg(args, 10), arg(args, 11), arg(args, 12), arg(args, 13)
        panels = arg(args, 14) // LANES
        pixel, out_pixel, res_pixel = 4 * arg(args, 15), 4 * arg(args, 16), 4 * arg(args, 17)
        in_image, out_image, res_image = 4 * arg(args, 18), 4 * arg(args, 19), 4 * arg(args, 20)
        act_a, act_b = argf(args, 21), argf(args, 22)
        first_line, last_line, panel, last_panel = 0, images * OH, 0, panels
        if -(-last_line // parts) * panels <= -(-panels // parts) * last_line:
            first_line, last_line = last_line * part // parts, last_line * (part + 1) // parts
        else:
            panel, last_panel = panels * part // parts, panels * (part + 1) // parts
        reach = ((WB - 1) * SW + KW - 1) * DW
        row_step, col_step, out_step, res_step = DH * W * pixel, DW * pixel, DW * out_pixel, DW * res_pixel
        for group in range(panel, last_panel, GROUP):
            group_end = min(group + GROUP, last_panel)
            for line in range(first_line, last_line):
                image = line // OH
                oh = line - image * OH
                y = oh * SH - top
                kh, kh_end = 0, KH
                if y < 0:
                    kh = min(KH, (DH - 1 - y) // DH)
                if y + (KH - 1) * DH >= H:
                    kh_end = max(kh, (H - y + DH - 1) // DH)
                rows = kh_end - kh
                from_row = source + image * in_image + (y + kh * DH) * W * pixel
                from_tap = weights + 4 * LANES * KW * kh
                to_row = out + image * out_image + oh * OW * out_pixel
                add_row = res + image * res_image + oh * OW * res_pixel
                for phase in range(DW):
                    outs = (OW - phase + DW - 1) // DW
                    for o in range(0, outs, WB):
                        ow = phase + o * DW
                        x = ow * SW - left
                        n = min(WB, outs - o)
                        at, to, add = from_row + x * pixel, to_row + ow * out_pixel, add_row + ow * res_pixel
                        if x >= 0 and x + reach < W and n == WB:
                            for p in range(group, group_end):
                                c = 4 * LANES * p
                                _tile(
                                    at + c, col_step, row_step, rows, from_tap + c * (KH * KW), bias + c,
                                    x, DW, W, to + c, out_step, add + c, res_step, n,
                                    act_a, act_b, KW, SW, WB, ACT, RES, 0, LANES,
                                )  # fmt: skip
                        else:
                            for p in range(group, group_end):
                                c = 4 * LANES * p
                                _tile(
                                    at + c, col_step, row_step, rows, from_tap + c * (KH * KW), bias + c,
                                    x, DW, W, to + c, out_step, add + c, res_step, n,
                                    act_a, act_b, KW, SW, WB, ACT, RES, 1, LANES,
                                )  # fmt: skip

    return depthwise


def make_generic(ACT: int, RES: int, LANES: int) -> Callable[[int, int, int], None]:
    """A kernel for any filter and stride: pixel by pixel, windows clipped to the image."""

    def depthwise(args, part, parts):
        source, out, res, weights, bias = (
            arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3), arg(args, 4)
        )  # fmt: skip
        images, H, W, OH, OW = arg(args, 5), arg(args, 6), arg(args, 7), arg(args, 8), arg(args, 9)
        top, left, DH, DW, size = (
            arg(args, 10),
            arg(args, 11),
            arg(args, 12),
            arg(args, 13),
            4 * arg(args, 14),
        )
        pixel, out_pixel, res_pixel = 4 * arg(args, 15), 4 * arg(args, 16), 4 * arg(args, 17)
        in_image, out_image, res_image = 4 * arg(args, 18), 4 * arg(args, 19), 4 * arg(args, 20)
        act_a, act_b = argf(args, 21), argf(args, 22)
        KH, KW, SH, SW = arg(args, 23), arg(args, 24), arg(args, 25), arg(args, 26)
        row_step, col_step = DH * W * pixel, DW * pixel
        pixels = images * OH * OW
        for i in range(pixels * part // parts, pixels * (part + 1) // parts):
            line = i // OW
            ow = i - line * OW
            image = line // OH
            oh = line - image * OH
            y, x = oh * SH - top, ow * SW - left
            kh, kh_end, kw, kw_end = 0, KH, 0, KW
            if y < 0:
                kh = min(KH, (DH - 1 - y) // DH)
            if y + (KH - 1) * DH >= H:
                kh_end = max(kh, (H - y + DH - 1) // DH)
            if x < 0:
                kw = min(KW, (DW - 1 - x) // DW)
            if x + (KW - 1) * DW >= W:
                kw_end = max(kw, (W - x + DW - 1) // DW)
            first = source + image * in_image + (y + kh * DH) * W * pixel + (x + kw * DW) * pixel
            tap = weights + 4 * LANES * (kh * KW + kw)
            to = out + image * out_image + (oh * OW + ow) * out_pixel
            add = res + image * res_image + (oh * OW + ow) * res_pixel
            for c in range(0, size, 4 * LANES):
                total = vload(bias + c, LANES)
                for r in range(kh_end - kh):
                    at, w = first + r * row_step + c, tap + 4 * LANES * r * KW
                    for _ in range(kw_end - kw):
                        total = vfma(vload(at, LANES), vload(w, LANES), total)
                        at += col_step
                        w += 4 * LANES
                if RES == 1:
                    total += vload(add + c, LANES)
                total = activate(total, ACT, act_a, act_b)
                if RES == 2:
                    total += vload(add + c, LANES)
                vstore(to + c, total)
                tap += 4 * LANES * KH * KW

    return depthwise
