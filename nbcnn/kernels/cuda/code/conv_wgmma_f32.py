"""Float32 convolution on TMA and ``wgmma`` (9.0a): three TF32 products each, persistent, warp-specialised.

As `conv_wgmma`, but ``x w = xl wh + xh wl + xh wh`` with ``xh = tf32(x)``, ``xl = tf32(x - xh)``. The
filters come split (`packing.split_tf32`); the pixels are split in registers, from which wgmma takes its
first operand. A warpgroup computes 64 pixels; while one adds its sums up, the other multiplies.

Numerics. What is dropped is at most 3 x 2^-22 |x w|. The tensor core truncates, which would spoil a long
sum (Ootomo and Yokota, 2022): each step of 32 channels is summed there from zero, in 12 instructions, and
then added to the float32 sum with rounding to nearest:
|error| <= (3 x 2^-22 + 12 x 2^-23 + steps x 2^-24) sum |x w|.
"""

from __future__ import annotations

from typing import Any

from nbcnn.kernels.cuda.code.conv_wgmma import REGISTERS, descriptor
from nbcnn.kernels.cuda.code.conv_wgmma_load import pipeline
from nbcnn.kernels.cuda.code.epilogue import Operands, store_tile
from nbcnn.kernels.cuda.code.ptx import OPS
from nbcnn.kernels.cuda.shapes import ConvWgmma


def make(bind: Any, config: ConvWgmma) -> Any:
    """The kernel; its parameters are ``config.params``, its grid (blocks, 1, 1): any number of them."""
    ptx = bind(OPS)
    u32 = ptx.u32
    bm, bn, stages = config.bm, config.bn, config.stages
    stage_bytes, a_bytes = config.stage_bytes, bm * 128
    staging, barriers = config.staging, config.barriers
    few, many = REGISTERS[config.consumers]
    shrink, grow = ptx.setmaxnreg_dec(few), ptx.setmaxnreg_inc(many)
    declare, wait_all = ptx.wgmma_accumulators("tf32", bn, 1), ptx.wgmma_wait(0)
    set_up, produce = pipeline(ptx, config)
    zeros, multiply, add, finish = _macros(ptx, config)

    def conv(
        x, w, bias, scale, residual, out,
        C, K, R, S, P, Q, M,
        stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
        residual_pitch, out_pitch, tiles, n_tiles,
        n_multiplier, n_shift, pq_multiplier, pq_shift, q_multiplier, q_shift,
        a, b, residual_scale, out_scale,
    ):  # fmt: skip
        declare()
        tid = ptx.tid_x()
        warp = ptx.warp_uniform(u32(tid >> 5))
        memory = ptx.shared_base()
        full = u32(memory + barriers)
        empty = u32(full + 8 * stages)
        set_up(tid, full)
        if warp < 4:
            shrink()
            if warp == 0:
                produce(
                    ptx.map_address(x), ptx.map_address(w), memory, full, C, R, S, P, Q,
                    stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, tiles, n_tiles,
                    n_multiplier, n_shift, pq_multiplier, pq_shift, q_multiplier, q_shift,
                )  # fmt: skip
        else:
            grow()
            lane = u32(tid & 31)
            leader = ptx.less(lane, u32(1))
            own = u32(memory + staging + (warp - 4) * (16 * 64 * 4))
            row = u32((warp - 4) * 16 + (lane & 15))
            row_at = u32(row * 128)
            chunk = u32(((lane >> 4) ^ (row & 7)) * 16)
            steps = u32(R * S * u32((C + 127) // 128))
            tile = ptx.ctaid_x()
            stage = u32(0)
            phase = u32(0)
            while tile < tiles:
                tile_m = ptx.divide(tile, n_multiplier, n_shift)
                tile_n = u32(tile - tile_m * n_tiles)
                total = zeros()
                step = u32(0)
                while step < steps:
                    ptx.mbarrier_wait(u32(full + stage * 8), phase)
                    at = u32(memory + stage * stage_bytes)
                    multiply(u32(at + row_at), chunk, u32(at + a_bytes))
                    ptx.wgmma_commit()
                    wait_all()
                    ptx.mbarrier_arrive_if(u32(empty + stage * 8), leader)
                    total = add(total)
                    stage = u32(stage + 1)
                    if stage == stages:
                        stage = u32(0)
                        phase = u32(phase ^ 1)
                    step = u32(step + 1)
                finish(
                    total, own, lane, u32(tile_m * bm + (warp - 4) * 16), u32(tile_n * bn),
                    (bias, scale, residual, out), (M, K, residual_pitch, out_pitch),
                    (a, b, residual_scale, out_scale),
                )  # fmt: skip
                tile = u32(tile + ptx.nctaid_x())

    return conv


def _macros(ptx: Any, config: ConvWgmma) -> tuple[Any, Any, Any, Any]:
    """Macros: sums of zero, the products of one stage, adding them to the sums, the epilogue."""
    bn = config.bn
    count = bn // 2
    sums = f"f32*{count}"

    @ptx.macro(sums)
    def zeros(e):
        return [e.f32(0.0)] * count

    @ptx.macro("", "u32 u32 u32")
    def multiply(e, row, chunk, filters):
        """Products of 16 rows a warp with all filters, from zero: low x high, high x low, high x high."""
        high, low = descriptor(e, filters), descriptor(e, e.add(filters, bn * 128))
        fragments = []
        for k in range(4):  # 32 bytes each
            words = e.op("ldmatrix4", e.add(row, e.xor(chunk, 32 * k)))
            large = [e.op("to_tf32", e.as_float(w)) for w in words]
            rests = [e.fsub(e.as_float(w), e.as_float(h)) for w, h in zip(words, large, strict=True)]
            fragments.append((large, [e.op("to_tf32", r) for r in rests]))
        e.op("wgmma_fence")
        for k, (large, small) in enumerate(fragments):
            for first, second in ((small, high), (large, low), (large, high)):
                keep = 0 if k == 0 and first is small else 1
                e.op("wgmma_registers", *first, e.add(second, 2 * k), keep, imms=(bn,))

    @ptx.macro(sums, sums)
    def add(e, total):
        return [
            e.fadd(t, v)
            for t, v in zip(total, e.op("wgmma_result", imms=("tf32", bn, 0, count)), strict=True)
        ]

    @ptx.macro("", f"{sums} u32 u32 u32 u32 u64*4 u32*4 f32*4")
    def finish(e, total, staging, lane, row, column, pointers, extents, floats):
        operands = Operands(*pointers, *extents, floats)
        for c in range(bn // 64):
            block = total[c * 32 : (c + 1) * 32]
            own, which, top = (e.op("opaque", v) for v in (staging, lane, row))
            store_tile(e, "f32", config.epilogue, [block], own, which, top, e.add(column, 64 * c), operands)

    return zeros, multiply, add, finish
