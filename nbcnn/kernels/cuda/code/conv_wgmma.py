"""Convolution as an implicit GEMM on TMA and ``wgmma`` (9.0a): persistent, warp-specialised.

One warp of the first warpgroup fetches: the TMA unit gathers the pixels of a tap (im2col) or the rows of
a 1x1 convolution, and the filters, into 128-byte rows, swizzled. ``consumers`` warpgroups multiply, each
``bm / consumers`` pixels by ``bn`` filters, straight from shared memory; the sums stay in named PTX
registers (see `ptx`). A stage has two barriers: full (its bytes have come) and empty (every warp of the
consumers is done with it). A consumer gives a stage back one step late, when `wgmma_wait` has shown that
the products which read it are finished. Blocks walk over tiles, filters fastest, so that the blocks
that run together share their pixels.

Numerics. Products are exact (f16, bf16, TF32, s8), added to the float32 sum with truncation, one
instruction after the other (16 channels of f16, 8 of TF32), taps in row-major order, channels ascending
within a tap; s8 sums are exact integers. tf32 truncates the input to 11 significant bits (relative error
below 2^-10, toward zero), because wgmma reads it from shared memory as it is; the weights must come
rounded (`packing`).
"""

from __future__ import annotations

from typing import Any

from nbcnn.kernels.cuda.code.epilogue import Operands, store_tile
from nbcnn.kernels.cuda.code.ptx import OPS
from nbcnn.kernels.cuda.shapes import ConvWgmma

# Matrix descriptor without its start address: 128-byte swizzle, 1024 bytes from 8 rows to the next 8.
DESCRIPTOR = (1 << 62) | ((1024 >> 4) << 32) | ((16 >> 4) << 16)

# Registers of producers and consumers: 65536 in all, 168 a thread at launch for 3 warpgroups.
REGISTERS = {1: (56, 240), 2: (40, 232), 3: (32, 160)}


def make(bind: Any, config: ConvWgmma) -> Any:
    """The kernel; its parameters are ``config.params``, its grid (blocks, 1, 1): any number of them."""
    ptx = bind(OPS)
    u32, i32, u16 = ptx.u32, ptx.i32, ptx.u16
    bm, bn, stages, consumers = config.bm, config.bn, config.stages, config.consumers
    stage_bytes, a_bytes = config.stage_bytes, bm * 128
    bk, im2col = config.bk, config.im2col
    rows = bm // consumers  # of a warpgroup
    staging, barriers = stages * stage_bytes, stages * stage_bytes + consumers * 4 * 16 * 64 * 4
    few, many = REGISTERS[consumers]
    shrink, grow = ptx.setmaxnreg_dec(few), ptx.setmaxnreg_inc(many)
    declare = ptx.wgmma_accumulators(config.kind, bn, rows // 64)
    load_x = ptx.tma_im2col if im2col else ptx.tma_load(2)
    load_w = ptx.tma_load(3)
    wait_previous, wait_all = ptx.wgmma_wait(1), ptx.wgmma_wait(0)
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
        lane = u32(tid & 31)
        warp = ptx.warp_uniform(u32(tid >> 5))
        memory = ptx.shared_base()
        full = u32(memory + barriers)
        empty = u32(full + 8 * stages)
        first = ptx.less(tid, u32(1))
        i = u32(0)
        while i < stages:
            ptx.mbarrier_init_if(u32(full + i * 8), u32(1), first)
            ptx.mbarrier_init_if(u32(empty + i * 8), u32(4 * consumers), first)
            i = u32(i + 1)
        ptx.fence_mbarrier_init()
        ptx.syncthreads()
        tile = ptx.ctaid_x()
        stage = u32(0)
        c_steps = u32((C + 127) // 128)
        if warp < 4:
            shrink()
            if warp == 0:
                one = ptx.elect()
                x_map = ptx.map_address(x)
                w_map = ptx.map_address(w)
                ptx.prefetch_map_if(x_map, one)
                ptx.prefetch_map_if(w_map, one)
                phase = u32(1)  # the stages begin empty
                while tile < tiles:
                    tile_m = ptx.divide(tile, n_multiplier, n_shift)
                    m = u32(tile_m * bm)
                    filter_0 = i32(u32(tile - tile_m * n_tiles) * bn)
                    n = ptx.divide(m, pq_multiplier, pq_shift)
                    pq = u32(m - n * u32(P * Q))
                    p = ptx.divide(pq, q_multiplier, q_shift)
                    top = i32(p * stride_h - pad_h)
                    left = i32(u32(pq - p * Q) * stride_w - pad_w)
                    r = u32(0)
                    while r < R:
                        s = u32(0)
                        while s < S:
                            step = u32(0)
                            while step < c_steps:
                                ptx.mbarrier_wait(u32(empty + stage * 8), phase)
                                ready = u32(full + stage * 8)
                                to = u32(memory + stage * stage_bytes)
                                ptx.mbarrier_expect_if(ready, u32(stage_bytes), one)
                                channel = i32(step * bk)
                                if im2col:
                                    load_x(
                                        to, x_map, ready, channel, left, top, i32(n),
                                        u16(s * dilation_w), u16(r * dilation_h), one,
                                    )  # fmt: skip
                                else:
                                    load_x(to, x_map, ready, channel, i32(m), one)
                                load_w(
                                    u32(to + a_bytes), w_map, ready, channel, i32(r * S + s), filter_0, one
                                )
                                stage = u32(stage + 1)
                                if stage == stages:
                                    stage = u32(0)
                                    phase = u32(phase ^ 1)
                                step = u32(step + 1)
                            s = u32(s + 1)
                        r = u32(r + 1)
                    tile = u32(tile + ptx.nctaid_x())
        else:
            grow()
            leader = ptx.less(lane, u32(1))
            group = u32((warp >> 2) - 1)
            own = u32(memory + staging + (warp - 4) * (16 * 64 * 4))
            steps = u32(R * S * c_steps)
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
            from_a, from_b = (_descriptor(e, v) for v in (a, b))
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


def _descriptor(e: Any, address: Any) -> Any:
    return e.or_(e.wide(e.and_(e.shr(address, 4), 0x3FFF)), DESCRIPTOR)
