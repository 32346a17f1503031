"""What the wgmma convolutions share: the barriers of the pipeline and the warp that fills it by TMA.

The TMA unit gathers the pixels of a tap (im2col) or the rows of a 1x1 convolution, and the filters, into
swizzled rows of 128 bytes. A stage has two barriers, 8 bytes each: full (its bytes have come) and, behind
all the full ones, empty (every warp of the consumers is done with it). Blocks walk over tiles, filters
fastest, so that the blocks that run together share their pixels.
"""

from __future__ import annotations

from typing import Any

from nbcnn.kernels.cuda.shapes import ConvWgmma


def pipeline(ptx: Any, config: ConvWgmma) -> tuple[Any, Any]:
    """Device functions: set up the barriers (all threads), fill stages until no tile is left (one warp)."""
    u32, i32, u16 = ptx.u32, ptx.i32, ptx.u16
    bm, bn, bk, stages, im2col = config.bm, config.bn, config.bk, config.stages, config.im2col
    stage_bytes, a_bytes = config.stage_bytes, bm * 128
    warps = 4 * config.consumers
    load_x = ptx.tma_im2col if im2col else ptx.tma_load(2)
    load_w = ptx.tma_load(4)

    @ptx.device
    def set_up(tid, full):
        first = ptx.less(tid, u32(1))
        i = u32(0)
        while i < stages:
            ptx.mbarrier_init_if(u32(full + i * 8), u32(1), first)
            ptx.mbarrier_init_if(u32(full + 8 * stages + i * 8), u32(warps), first)
            i = u32(i + 1)
        ptx.fence_mbarrier_init()
        ptx.syncthreads()

    @ptx.device
    def produce(
        x_map, w_map, memory, full, C, R, S, P, Q,
        stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, tiles, n_tiles,
        n_multiplier, n_shift, pq_multiplier, pq_shift, q_multiplier, q_shift,
    ):  # fmt: skip
        one = ptx.elect()
        ptx.prefetch_map_if(x_map, one)
        ptx.prefetch_map_if(w_map, one)
        c_steps = u32((C + 127) // 128)
        tile = ptx.ctaid_x()
        stage = u32(0)
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
                        ptx.mbarrier_wait(u32(full + 8 * stages + stage * 8), phase)
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
                        tap = i32(r * S + s)
                        load_w(u32(to + a_bytes), w_map, ready, channel, tap, filter_0, i32(0), one)
                        stage = u32(stage + 1)
                        if stage == stages:
                            stage = u32(0)
                            phase = u32(phase ^ 1)
                        step = u32(step + 1)
                    s = u32(s + 1)
                r = u32(r + 1)
            tile = u32(tile + ptx.nctaid_x())

    return set_up, produce
