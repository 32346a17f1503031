"""Convolution as an implicit GEMM on ``mma.sync``: any stride, padding, dilation and groups, NHWC.

A block computes ``bm`` pixels x ``bn`` filters. Steps of ``row_bytes`` of channels of one tap go through
shared memory by cp.async, ``stages - 1`` ahead; chunk ``c`` (16 bytes) of row ``r`` lies at
``c ^ (r % 8)`` so that neither the copies nor ldmatrix meet bank conflicts. All data types share this
code, because ldmatrix moves 16-byte chunks whatever they hold and each instruction takes 32 bytes of
channels. Padding costs nothing: every thread keeps, for each pixel that it copies, which filter rows
(low 16 bits) and columns (high 16) fall inside the image.

Numerics. Products are exact (f16, bf16, TF32, s8); the tensor core adds them to the float32 sum with
truncation, one instruction (16 channels of f16, 8 of TF32) after the other, taps in row-major order,
channels ascending within a tap. s8 sums are exact integers. tf32 rounds the inputs to nearest; its
weights must come rounded (`packing`).

f32 is three TF32 products, ``x w = xl wh + xh wl + xh wh`` with ``xh = tf32(x)``, ``xl = tf32(x - xh)``:
what is dropped is at most 3 x 2^-22 |x w|. Truncation would spoil that over a long sum (Ootomo and
Yokota, 2022), so each step of ``bk`` channels is summed from zero in the tensor core and then added to
the float32 sum with rounding to nearest:
|error| <= (3 x 2^-22 + 3 bk / 8 x 2^-23 + steps x 2^-24) sum |x w|.
"""

from __future__ import annotations

from typing import Any

from nbcnn.kernels.cuda.code.conv_mma_load import NEVER, loaders
from nbcnn.kernels.cuda.code.epilogue import Operands, store_tile
from nbcnn.kernels.cuda.code.ptx import OPS
from nbcnn.kernels.cuda.shapes import KINDS, ConvMma


def make(bind: Any, config: ConvMma) -> Any:
    """The kernel; its parameters are ``config.params``, its grid (tiles, 1, splits or groups).

    ``C`` and the pitches are in bytes; ``k_tiles`` counts the steps along K.
    """
    ptx = bind(OPS)
    u32, u64 = ptx.u32, ptx.u64
    row_bytes, stages, size = config.row_bytes, config.stages, KINDS[config.kind].size
    bm, bn, wm, wn = config.bm, config.bn, config.wm, config.wn
    split, pixels4 = config.split, config.pixels4
    warps_m, ahead, chunks = bm // wm, stages - 1, row_bytes // 16
    swizzle_shift = 0 if chunks == 8 else 1
    a_bytes, stage_bytes = bm * row_bytes, (bm + bn) * row_bytes
    step_taps, chunk_taps = row_bytes // (4 * size), 16 // (4 * size)
    staging_bytes = 16 * wn * 4
    async_wait, async_drain = ptx.async_wait(stages - 2), ptx.async_wait(0)
    load = loaders(ptx, config)
    origins, unmarked, mark_row, mark_column = load.origins, load.unmarked, load.mark_row, load.mark_column
    filters, load_filters, load_input, load_pixels = (
        load.filters,
        load.load_filters,
        load.load_input,
        load.load_pixels,
    )
    zeros, multiply, finish = _math(ptx, config)

    def conv(
        x, w, bias, scale, residual, out,
        H, W, C, K, R, S, P, Q, M,
        stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
        x_pitch, w_pitch, residual_pitch, out_pitch, n_tiles, k_tiles,
        n_multiplier, n_shift, pq_multiplier, pq_shift, q_multiplier, q_shift, s_multiplier, s_shift,
        a, b, residual_scale, out_scale,
    ):  # fmt: skip
        tid = ptx.tid_x()
        lane = u32(tid & 31)
        warp = ptx.warp_uniform(u32(tid >> 5))
        memory = ptx.shared_base()
        tile = ptx.ctaid_x()
        tile_m = ptx.divide(tile, n_multiplier, n_shift)
        tile_n = u32(tile - tile_m * n_tiles)
        z = ptx.ctaid_z()
        begin = u32(0)
        steps = k_tiles
        if split:
            share = u32((k_tiles + ptx.nctaid_z() - 1) // ptx.nctaid_z())
            begin = u32(min(z * share, k_tiles))
            steps = u32(min(begin + share, k_tiles) - begin)
            out = u64(out + u64(z) * u64(M) * u64(out_pitch))
        else:  # a group of filters and the channels that it reads
            x = u64(x + u64(z) * u64(C))
            w = u64(w + u64(z) * u64(K) * u64(w_pitch))
            bias = u64(bias + u64(z) * u64(K) * u64(4))
            scale = u64(scale + u64(z) * u64(K) * u64(4))
            residual = u64(residual + u64(z) * u64(K) * u64(size))
            out = u64(out + u64(z) * u64(K) * u64(size))

        # what this thread copies
        chunk = u32(tid % chunks)
        row = u32(tid // chunks)
        start = u32(0) if pixels4 else u32(chunk * 16)
        origin = origins(
            u32(tile_m * bm + row), start, (H, W, P, Q, M), (stride_h, stride_w, pad_h, pad_w),
            (pq_multiplier, pq_shift, q_multiplier, q_shift), x_pitch,
        )  # fmt: skip
        masks = unmarked()
        r = u32(0)
        while r < R:
            masks = mark_row(masks, origin, u32(r * dilation_h), H, u32(1 << r))
            r = u32(r + 1)
        s = u32(0)
        while s < S:
            masks = mark_column(masks, origin, u32(s * dilation_w), W, u32(1 << (s + 16)))
            s = u32(s + 1)
        weights = filters(u32(tile_n * bn + row), u32(chunk * 16), w_pitch, K)
        placed = u32((chunk ^ ((row >> swizzle_shift) & (chunks - 1))) * 16 + row * row_bytes)

        # where the loads are: step, stage, tap (r, s), channel byte
        c_steps = u32((C + row_bytes - 1) // row_bytes)
        tap = u32(begin // c_steps)
        c = u32((begin - tap * c_steps) * row_bytes)
        r = u32(tap // S)
        s = u32(tap - r * S)
        shift = u32((r * dilation_h * W + s * dilation_w) * x_pitch + c)
        w_shift = u32(begin * row_bytes) if pixels4 else u32(tap * C + c)
        load_stage = u32(0)

        # where the products are: this lane's rows for ldmatrix
        warp_m = u32(warp % warps_m)
        warp_n = u32(warp // warps_m)
        a_row = u32(warp_m * wm + (lane & 15))
        b_row = u32(warp_n * wn + (lane & 7) + ((lane >> 4) << 3))
        a_chunk = u32((lane >> 4) ^ ((a_row >> swizzle_shift) & (chunks - 1)))
        b_chunk = u32(((lane >> 3) & 1) ^ ((b_row >> swizzle_shift) & (chunks - 1)))
        rows = (
            u32(a_row * row_bytes),
            u32(a_chunk * 16),
            u32(a_bytes + b_row * row_bytes),
            u32(b_chunk * 16),
        )
        stage = u32(0)
        total = zeros()
        step = u32(0)
        while step < steps + ahead:
            if step >= ahead:
                async_wait()
                ptx.syncthreads()
            if step < steps:
                to = u32(memory + load_stage * stage_bytes + placed)
                if pixels4:
                    first_tap = u32((begin + step) * step_taps + chunk * chunk_taps)
                    load_pixels(
                        to, x, origin, masks, first_tap, (R, S, dilation_h, dilation_w), (W, x_pitch),
                        (s_multiplier, s_shift),
                    )  # fmt: skip
                    load_filters(u32(to + a_bytes), w, weights, w_shift, u32(NEVER))
                    w_shift = u32(w_shift + row_bytes)
                else:
                    inside = ptx.less(u32(c + chunk * 16), C)
                    bits = ptx.choose(inside, u32((1 << r) | (0x10000 << s)), u32(NEVER))
                    load_input(to, x, origin, masks, shift, bits)
                    load_filters(
                        u32(to + a_bytes), w, weights, w_shift, ptx.choose(inside, u32(NEVER), u32(0))
                    )
                    c = u32(c + row_bytes)
                    shift = u32(shift + row_bytes)
                    w_shift = u32(w_shift + row_bytes)
                    if c >= C:  # the next tap
                        w_shift = u32(w_shift - (c - C))
                        c = u32(0)
                        s = u32(s + 1)
                        if s == S:
                            s = u32(0)
                            r = u32(r + 1)
                        shift = u32((r * dilation_h * W + s * dilation_w) * x_pitch)
                load_stage = u32(load_stage + 1)
                if load_stage == stages:
                    load_stage = u32(0)
            ptx.async_commit()
            if step >= ahead:
                total = multiply(total, u32(memory + stage * stage_bytes), rows)
                stage = u32(stage + 1)
                if stage == stages:
                    stage = u32(0)
            step = u32(step + 1)
        async_drain()
        ptx.syncthreads()
        finish(
            total, u32(memory + warp * staging_bytes), lane,
            u32(tile_m * bm + warp_m * wm), u32(tile_n * bn + warp_n * wn),
            (bias, scale, residual, out), (M, K, residual_pitch, out_pitch),
            (a, b, residual_scale, out_scale),
        )  # fmt: skip

    return conv


def _math(ptx: Any, config: ConvMma) -> tuple[Any, Any, Any]:
    """Macros: sums of zero, one step's products, the epilogue of the warp's tile."""
    kind, whole = config.kind, KINDS[config.kind].whole
    blocks_m, blocks_n = config.wm // 16, config.wn // 8
    count = blocks_m * blocks_n * 4
    sums = f"{'i32' if whole else 'f32'}*{count}"
    row_bytes = config.row_bytes
    product = KINDS[kind].mma

    @ptx.macro(sums)
    def zeros(e):
        return [e.u32(0) if whole else e.f32(0.0)] * count

    @ptx.macro(sums, f"{sums} u32 u32*4")
    def multiply(e, total, stage, rows):
        """total += A B over one step; a fragment of A is 16 rows, one of B 8, of 32 bytes each."""
        a_row, a_chunk, b_row, b_chunk = rows
        sums = [e.f32(0.0)] * count if kind == "f32" else list(total)
        for k in range(row_bytes // 32):
            a_at = e.add(e.add(stage, a_row), e.xor(a_chunk, 32 * k))
            b_at = e.add(e.add(stage, b_row), e.xor(b_chunk, 32 * k))
            a = [e.op("ldmatrix4", e.add(a_at, i * 16 * row_bytes)) for i in range(blocks_m)]
            b: list[Any] = []
            for j in range(blocks_n // 2):
                four = e.op("ldmatrix4", e.add(b_at, j * 16 * row_bytes))
                b += [four[:2], four[2:]]
            terms = [(a, b)]
            if kind == "tf32":
                terms = [([_high(e, f) for f in a], b)]
            elif kind == "f32":
                a_high, b_high = [_high(e, f) for f in a], [_high(e, f) for f in b]
                a_low = [_low(e, f, h) for f, h in zip(a, a_high, strict=True)]
                b_low = [_low(e, f, h) for f, h in zip(b, b_high, strict=True)]
                terms = [(a_low, b_high), (a_high, b_low), (a_high, b_high)]  # the small ones first
            for left, right in terms:
                for i in range(blocks_m):
                    for j in range(blocks_n):
                        at = 4 * (i * blocks_n + j)
                        sums[at : at + 4] = e.op(product, *left[i], *right[j], *sums[at : at + 4])
        if kind == "f32":
            return [e.fadd(t, v) for t, v in zip(total, sums, strict=True)]
        return sums

    @ptx.macro("", f"{sums} u32 u32 u32 u32 u64*4 u32*4 f32*4")
    def finish(e, total, staging, lane, row, column, pointers, extents, floats):
        each = 4 * blocks_n
        fragments = [total[i * each : (i + 1) * each] for i in range(blocks_m)]
        epilogue = None if config.split else config.epilogue
        store_tile(
            e, kind, epilogue, fragments, staging, lane, row, column, Operands(*pointers, *extents, floats)
        )

    return zeros, multiply, finish


def _high(e: Any, words: list[Any]) -> list[Any]:
    return [e.op("to_tf32", e.as_float(w)) for w in words]


def _low(e: Any, words: list[Any], high: list[Any]) -> list[Any]:
    rest = [e.fsub(e.as_float(w), e.as_float(h)) for w, h in zip(words, high, strict=True)]
    return [e.op("to_tf32", r) for r in rest]
