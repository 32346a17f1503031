"""Depthwise convolution, NHWC: a thread computes ``width`` neighbouring pixels of 16 bytes of channels.

Bound by memory: for each filter row a thread reads the pixels that any of its results needs once, in
16-byte vectors, neighbouring threads neighbouring channels. No tensor cores.

Numerics: float32, ``sum = fma(x, w, sum)`` from 0, filter rows and columns ascending, one rounding each
(none for s8: a sum of 225 products is below 2^24); then the epilogue of `nbcnn.kernels.cuda.code.epilogue`.
"""

from __future__ import annotations

from typing import Any

from nbcnn.kernels.cuda.code.epilogue import complete, load_columns, unpack
from nbcnn.kernels.cuda.code.ptx import OPS
from nbcnn.kernels.cuda.shapes import KINDS, Depthwise


def make(bind: Any, config: Depthwise) -> Any:
    """The kernel; its parameters are ``config.params``, grid (vectors x strips x rows / threads, 1, 1).

    ``C`` and the pitches are in bytes; a strip is ``width`` pixels of a row, the last of a row may be
    shorter; filters lie as [R, S, C].
    """
    ptx = bind(OPS)
    u32, u64 = ptx.u32, ptx.u64
    filter_rows, filter_columns, threads = config.r, config.s, config.threads
    width, stride = config.width, config.stride
    zeros, add_row, finish = _macros(ptx, config)

    def depthwise(
        x, w, bias, scale, residual, out,
        H, W, C, P, Q, M, stride_h, pad_h, pad_w, dilation_h,
        x_pitch, w_pitch, residual_pitch, out_pitch, vectors, strips, total,
        vectors_multiplier, vectors_shift, strips_multiplier, strips_shift, p_multiplier, p_shift,
        a, b, residual_scale, out_scale,
    ):  # fmt: skip
        index = u32(ptx.ctaid_x() * threads + ptx.tid_x())
        wanted = ptx.less(index, total)
        strip = ptx.divide(index, vectors_multiplier, vectors_shift)
        part = u32(index - strip * vectors)
        row = ptx.divide(strip, strips_multiplier, strips_shift)
        q = u32((strip - row * strips) * width)
        n = ptx.divide(row, p_multiplier, p_shift)
        p = u32(row - n * P)
        offset = u32(part * 16)
        x = u64(x + ptx.multiply_wide(offset, u32(1)))
        w = u64(w + ptx.multiply_wide(offset, u32(1)))
        top = u32(p * stride_h - pad_h)
        left = u32(q * stride - pad_w)
        sums = zeros()
        r = u32(0)
        while r < filter_rows:
            h = u32(top + r * dilation_h)
            inside = u32(ptx.less(h, H) & wanted)
            start = u64(x + ptx.multiply_wide(u32((n * H + h) * W), x_pitch))
            sums = add_row(sums, start, u64(w + ptx.multiply_wide(u32(r * filter_columns), w_pitch)), left,
                           ptx.choose(inside, W, u32(0)), wanted, x_pitch, w_pitch)  # fmt: skip
            r = u32(r + 1)
        finish(
            sums, part, u32(row * Q + q), ptx.choose(wanted, u32(Q - q), u32(0)), wanted,
            (bias, scale, residual, out), (residual_pitch, out_pitch), (a, b, residual_scale, out_scale),
        )  # fmt: skip

    return depthwise


def _macros(ptx: Any, config: Depthwise) -> tuple[Any, Any, Any]:
    """Macros: sums of zero, one filter row's products, the epilogue of a thread's pixels."""
    kind, width, stride, dilation, columns = (
        config.kind,
        config.width,
        config.stride,
        config.dilation,
        config.s,
    )
    vector = 16 // KINDS[kind].size
    span = (width - 1) * stride + (columns - 1) * dilation + 1  # pixels of a row that a thread may read
    sums = f"f32*{width * vector}"

    @ptx.macro(sums)
    def zeros(e):
        return [e.f32(0.0)] * (width * vector)

    @ptx.macro(sums, f"{sums} u64 u64 u32 u32 u32 u32 u32")
    def add_row(e, total, row, filters, left, extent, wanted, x_pitch, w_pitch):
        """total += one filter row; pixels from ``extent`` on are zeros."""
        total = list(total)
        taps = []
        for s in range(columns):
            words = e.op("load4_if", e.add(filters, e.op("multiply_wide", w_pitch, s)), wanted)
            taps.append(unpack(e, kind, words))
        for i in range(span):
            uses = [(t, i - t * stride) for t in range(width)]
            uses = [
                (t, d // dilation)
                for t, d in uses
                if d >= 0 and d % dilation == 0 and d // dilation < columns
            ]
            if not uses:
                continue
            column = e.add(left, i)
            at = e.add(row, e.mul(e.signed(column), e.wide(x_pitch)))
            pixel = unpack(e, kind, e.op("load4_if", at, e.flag(e.less(column, extent))))
            for t, s in uses:
                for c in range(vector):
                    total[t * vector + c] = e.fma(pixel[c], taps[s][c], total[t * vector + c])
        return total

    @ptx.macro("", f"{sums} u32 u32 u32 u32 u64*4 u32*2 f32*4")
    def finish(e, total, part, pixel, count, wanted, pointers, pitches, floats):
        bias, scale, residual, out = pointers
        column = e.mul(part, vector)
        biases = load_columns(e, bias, column, wanted, vector)
        scales = load_columns(e, scale, column, wanted, vector) if KINDS[kind].whole else []
        offset = e.wide(e.mul(part, 16))
        for t in range(width):
            inside = e.flag(e.less(e.u32(t), count))
            where = e.add(pixel, t)
            addends: Any = None
            if config.epilogue.residual != "none":
                at = e.add(residual, e.add(e.op("multiply_wide", where, pitches[0]), offset))
                addends = e.op("load4_if", at, inside)
            values = total[t * vector : (t + 1) * vector]
            words = complete(e, kind, config.epilogue, values, biases, scales, addends, floats)
            at = e.add(out, e.add(e.op("multiply_wide", where, pitches[1]), offset))
            e.op("store4_if", at, *words, inside)

    return zeros, add_row, finish
