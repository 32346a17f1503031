"""Convolution as an implicit GEMM on TMA and ``wgmma`` (9.0a): persistent, warp-specialised.

One warp of the first warpgroup fetches (`conv_wgmma_load`); ``consumers`` warpgroups multiply, each
``bm / consumers`` pixels by ``bn`` filters, straight from shared memory; the sums stay in named PTX
registers (see `ptx`). A consumer gives a stage back one step late, when `wgmma_wait` has shown that the
products which read it are finished.

Numerics. Products are exact (f16, bf16, TF32, s8), added to the float32 sum with truncation, one
instruction after the other (16 channels of f16, 8 of TF32), taps in row-major order, channels ascending
within a tap; s8 sums are exact integers. tf32 truncates the input to 11 significant bits (relative error
below 2^-10, toward zero), because wgmma reads it from shared memory as it is; the weights must come
rounded (`packing`). float32 is `conv_wgmma_f32`.
"""

from __future__ import annotations

from typing import Any

from nbcnn.kernels.cuda.code.conv_wgmma_load import pipeline
from nbcnn.kernels.cuda.code.epilogue import Operands, store_tile
from nbcnn.kernels.cuda.code.ptx import OPS
from nbcnn.kernels.cuda.shapes import ConvWgmma

# Matrix descriptor without its start address: 128-byte swizzle, 1024 bytes from 8 rows to the next 8.
DESCRIPTOR = (1 << 62) | ((1024 >> 4) << 32) | ((16 >> 4) << 16)

# Registers of producers and consumers, which share 65536: 168 or 128 a thread at launch.
REGISTERS = {2: (40, 232), 3: (32, 160)}


def make(bind: Any, config: ConvWgmma) -> Any:
    """The kernel; its parameters are ``config.params``, its grid (blocks, 1, 1): any number of them."""
    ptx = bind(OPS)
    u32 = ptx.u32
    bm, bn, stages, consumers = config.bm, config.bn, config.stages, config.consumers
    stage_bytes, a_bytes = config.stage_bytes, bm * 128
    rows = bm // consumers  # of a warpgroup
    staging, barriers = config.staging, config.barriers
    few, many = REGISTERS[consumers]
    shrink, grow = ptx.setmaxnreg_dec(few), ptx.setmaxnreg_inc(many)
    declare = ptx.wgmma_accumulators(config.kind, bn, rows // 64)
    wait_previous, wait_all = ptx.wgmma_wait(1), ptx.wgmma_wait(0)
    set_up, produce = pipeline(ptx, config)
    begin, proceed, finish = _macros(ptx, config)

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
            group = u32((warp >> 2) - 1)
            own = u32(memory + staging + (warp - 4) * (16 * 64 * 4))
            steps = u32(R * S * u32((C + 127) // 128))
            tile = ptx.ctaid_x()
            stage = u32(0)
            phase = u32(0)
            while tile < tiles:
                tile_m = ptx.divide(tile, n_multiplier, n_shift)
                tile_n = u32(tile - tile_m * n_tiles)
                # the first step overwrites the sums, which until then are nobody's registers
                ptx.mbarrier_wait(u32(full + stage * 8), phase)
                at = u32(memory + stage * stage_bytes)
                ptx.wgmma_fence()
                begin(u32(at + group * (rows * 128)), u32(at + a_bytes))
                ptx.wgmma_commit()
                previous = stage
                stage = u32(stage + 1)
                if stage == stages:
                    stage = u32(0)
                    phase = u32(phase ^ 1)
                step = u32(1)
                while step < steps:
                    ptx.mbarrier_wait(u32(full + stage * 8), phase)
                    at = u32(memory + stage * stage_bytes)
                    ptx.wgmma_fence()
                    proceed(u32(at + group * (rows * 128)), u32(at + a_bytes))
                    ptx.wgmma_commit()
                    wait_previous()
                    ptx.mbarrier_arrive_if(u32(empty + previous * 8), leader)
                    previous = stage
                    stage = u32(stage + 1)
                    if stage == stages:
                        stage = u32(0)
                        phase = u32(phase ^ 1)
                    step = u32(step + 1)
                wait_all()
                ptx.mbarrier_arrive_if(u32(empty + previous * 8), leader)
                finish(
                    own, lane, u32(tile_m * bm + group * rows + (warp & 3) * 16), u32(tile_n * bn),
                    (bias, scale, residual, out), (M, K, residual_pitch, out_pitch),
                    (a, b, residual_scale, out_scale),
                )  # fmt: skip
                tile = u32(tile + ptx.nctaid_x())

    return conv


def _macros(ptx: Any, config: ConvWgmma) -> tuple[Any, Any, Any]:
    """Macros: the products of the first stage, of a later one, and the epilogue of the warp's rows."""
    kind, bn = config.kind, config.bn
    tiles = config.bm // config.consumers // 64

    def multiplier(first: int) -> Any:
        @ptx.macro("", "u32 u32")
        def multiply(e, a, b):
            """sums += A B over 128 bytes of channels; where ``first`` is 0 they begin from zero."""
            from_a, from_b = (descriptor(e, v) for v in (a, b))
            for k in range(4):  # 32 bytes each; descriptors count in 16 bytes
                for t in range(tiles):
                    left = e.add(from_a, t * 64 * 128 // 16 + 2 * k)
                    e.op("wgmma", left, e.add(from_b, 2 * k), first if k == 0 else 1, imms=(kind, bn, t))

        return multiply

    @ptx.macro("", "u32 u32 u32 u32 u64*4 u32*4 f32*4")
    def finish(e, staging, lane, row, column, pointers, extents, floats):
        operands = Operands(*pointers, *extents, floats)

        def block(t: int, c: int) -> None:
            sums = e.op("wgmma_result", imms=(kind, bn, t * bn // 2 + c * 32, 32))
            # opaque: addresses are computed again for each block, not kept in registers beside the sums
            own, which, top = (e.op("opaque", v) for v in (staging, lane, e.add(row, 64 * t)))
            store_tile(e, kind, config.epilogue, [sums], own, which, top, e.add(column, 64 * c), operands)

        for t in range(tiles):
            for c in range(bn // 64):  # a branch each: else all loads would be moved up, and registers spilt
                e.when(e.less(e.add(column, 64 * c), operands.columns), lambda t=t, c=c: block(t, c))

    return multiplier(0), multiplier(1), finish


def descriptor(e: Any, address: Any) -> Any:
    """The matrix descriptor of swizzled rows in shared memory; it counts in 16 bytes."""
    return e.or_(e.wide(e.and_(e.shr(address, 4), 0x3FFF)), DESCRIPTOR)
