"""Implicit GEMM in float32: rows are output pixels, columns filters, terms taps x channels, channels fastest.

A block computes BM x BN of the result in steps of BK terms, through two buffers in shared memory: while it
multiplies one, the next tile is on its way into registers. SLICES groups of threads take a part of each
step's terms and are added in their order at the end: more threads for products that are small but deep.

A thread holds TM x TN sums, in groups of four rows and four columns: a warp of 4 x 8 threads reads 64 bytes
of A and 128 of B at once, 16 a thread and each bank once (lanes that want the same bytes share them). Rows of
A in shared memory are BM + 4 floats apart, so that what a warp stores lies in 32 banks, too, for BK = 8; two
to a bank for 16, four for 32.

As assembled for 8.0, 128x128x8 has 128 registers (two blocks of 256 threads on a multiprocessor), nothing in
local memory, and 142 instructions for two terms, of which 128 FFMA; with the loads of a step 512 of 688 are
(74 %). 1x1 convolutions: 512 of 648 (79 %). None of this has run on a GPU yet.
"""

from __future__ import annotations

from typing import Any

from numba import cuda, float32, int32, int64, uint32

from nbcnn.kernels.cuda.simt.activations import activation
from nbcnn.kernels.cuda.simt.integers import quotient
from nbcnn.kernels.cuda.simt.memory import reader, reader4, writer, writer4

BEFORE, AFTER = 1, 2  # `nbcnn.kernels.epilogue`


def make(
    KIND: str, BM: int, BN: int, BK: int, TM: int, TN: int, SLICES: int, LN: int, WN: int,
    AXES: int, VECTOR: bool, STAGED: bool, ACT: str, RES: int,
) -> Any:  # fmt: skip
    """Threads of a slice lie LN to a row within a warp, WN warps to a row of warps.

    AXES is 0 where a row's terms follow each other in memory (1x1 convolutions, rows of features), 2 for
    windows over images and signals, 3 for volumes. VECTOR: channels are read and written four at a time.
    STAGED: sums go through shared memory, so that what follows them is a loop; otherwise it is unrolled.
    """
    read, read4, write, write4 = reader(KIND), reader4(KIND), writer(KIND), writer4(KIND)
    load4, store4 = reader4("f32"), writer4("f32")
    act = activation(ACT)
    GRID = (BM // TM) * (BN // TN)  # threads of a slice
    LANES = min(GRID, 32)
    LM = LANES // LN
    DEPTH = BK // SLICES
    V = 4 if VECTOR else 1
    KV = BK // V  # vectors of a row of A
    ROWS_A = GRID * SLICES // KV
    PASSES_A = BM // ROWS_A
    LINE = BM + 4
    NV = BN // 4
    ROWS_B = GRID * SLICES // NV
    PASSES_B = BK // ROWS_B
    SIZE_A = BK * LINE
    STAGE = SIZE_A + BK * BN
    SHARED = max(2 * STAGE, BM * BN if SLICES > 1 or STAGED else 0)
    GM, GN = TM // 4, TN // 4  # groups of rows and columns of a thread
    STEP_M, STEP_N = BM // GM, BN // GN
    UNROLL = min(2, DEPTH)
    SUMS, HELD_A, HELD_B = TM * TN, PASSES_A * V, PASSES_B * 4

    def conv(
        x, w, bias, residual, out,
        m_total, terms, filters, wide, columns, n_tiles, n_tiles_f, n_tiles_h,
        channels, channels_f, channels_h, x_group,
        points, points_f, points_h, width, width_f, width_h, height, height_f, height_h,
        kernel_w, kernel_w_f, kernel_w_h, kernel_h, kernel_h_f, kernel_h_h,
        size_d, size_h, size_w, stride_d, stride_h, stride_w,
        dilation_d, dilation_h, dilation_w, before_d, before_h, before_w,
        x_pitch, x_image, out_pitch, out_row, out_plane, out_image,
        residual_pitch, residual_row, residual_plane, residual_image, a, b,
    ):  # fmt: skip
        shared = cuda.shared.array(SHARED, float32, alignment=16)
        sums = cuda.local.array(SUMS, float32)
        left = cuda.local.array(TM, float32)
        right = cuda.local.array(TN, float32)
        held_a = cuda.local.array(HELD_A, float32)
        held_b = cuda.local.array(HELD_B, float32)
        base = cuda.local.array(PASSES_A, int32)
        front = cuda.local.array(PASSES_A, int32)
        top = cuda.local.array(PASSES_A, int32)
        side = cuda.local.array(PASSES_A, int32)

        me, group = int32(cuda.threadIdx.x), int32(cuda.blockIdx.y)
        m_tile = quotient(int32(cuda.blockIdx.x), n_tiles_f, n_tiles_h)
        n_tile = int32(int32(cuda.blockIdx.x) - m_tile * n_tiles)
        m_first, n_first = int32(m_tile * BM), int32(n_tile * BN)

        # The rows of A that this thread loads; those behind the last begin above any image.
        k_mine, row_mine = int32(int32(me % KV) * V), int32(me // KV)
        for p in range(PASSES_A):
            m = int32(m_first + row_mine + p * ROWS_A)
            image = quotient(m, points_f, points_h)
            rest = int32(m - image * points)
            origin = int32(image * x_image + group * x_group)
            if AXES == 0:
                base[p] = int32(origin + rest * x_pitch)
                top[p] = int32(m - m_total)
            else:
                row = quotient(rest, width_f, width_h)
                side[p] = int32(int32(rest - row * width) * stride_w - before_w)
                above = int32(0)
                if AXES == 3:
                    plane = quotient(row, height_f, height_h)
                    row = int32(row - plane * height)
                    front[p] = int32(plane * stride_d - before_d)
                    above = int32(front[p] * size_h)
                first = int32(row * stride_h - before_h)
                base[p] = int32(origin + int32(int32(above + first) * size_w + side[p]) * x_pitch)
                top[p] = first if m < m_total else int32(-(1 << 30))

        n_load, k_load = int32(int32(me % NV) * 4), int32(me // NV)
        w_mine = int32(int32(group * terms + k_load) * columns + n_first + n_load)
        terms_b = terms if n_first + n_load < columns else int32(0)

        # The sums that it computes.
        slice_, mine = int32(me // GRID), int32(me % GRID)
        lane, warp = int32(mine % LANES), int32(mine // LANES)
        m_mine = int32(int32(int32(lane // LN) + int32(warp // WN) * LM) * 4)
        n_mine = int32(int32(int32(lane % LN) + int32(warp % WN) * LN) * 4)
        for i in range(SUMS):
            sums[i] = float32(0)

        tiles = int32(int32(terms + BK - 1) // BK)
        for step in range(tiles + 1):
            if step < tiles:  # a tile of A and B into registers
                k = int32(step * BK + k_mine)
                offset, lower, right_of, behind, there = k, int32(0), int32(0), int32(0), k < terms
                if AXES > 0:
                    tap = quotient(k, channels_f, channels_h)
                    row = quotient(tap, kernel_w_f, kernel_w_h)
                    right_of = int32(int32(tap - row * kernel_w) * dilation_w)
                    if AXES == 3:
                        plane = quotient(row, kernel_h_f, kernel_h_h)
                        row = int32(row - plane * kernel_h)
                        behind = int32(plane * dilation_d)
                    lower = int32(row * dilation_h)
                    line = int32(int32(behind * size_h + lower) * size_w + right_of)
                    offset = int32(line * x_pitch + int32(k - tap * channels))
                for p in range(PASSES_A):
                    inside = there
                    if AXES == 0:
                        inside = inside and top[p] < 0
                    else:
                        h, v = int32(top[p] + lower), int32(side[p] + right_of)
                        inside = inside and h >= 0 and h < size_h and v >= 0 and v < size_w
                        if AXES == 3:
                            d = int32(front[p] + behind)
                            inside = inside and d >= 0 and d < size_d
                    at = int32(base[p] + offset)
                    if VECTOR:
                        v0, v1, v2, v3 = float32(0), float32(0), float32(0), float32(0)
                        if inside:
                            v0, v1, v2, v3 = read4(x, at)
                        held_a[p * V] = v0
                        held_a[p * V + 1] = v1
                        held_a[p * V + 2] = v2
                        held_a[p * V + 3] = v3
                    else:
                        held_a[p] = read(x, at) if inside else float32(0)
                for p in range(PASSES_B):
                    v0, v1, v2, v3 = float32(0), float32(0), float32(0), float32(0)
                    row = int32(step * BK + p * ROWS_B)
                    if row + k_load < terms_b:
                        v0, v1, v2, v3 = load4(w, int32(w_mine + row * columns))
                    held_b[p * 4] = v0
                    held_b[p * 4 + 1] = v1
                    held_b[p * 4 + 2] = v2
                    held_b[p * 4 + 3] = v3
            if step > 0:
                stage = int32(int32(int32(step - 1) & 1) * STAGE)
                at_a = int64(int32(stage + int32(slice_ * DEPTH) * LINE + m_mine))
                at_b = int64(int32(stage + SIZE_A + int32(slice_ * DEPTH) * BN + n_mine))
                end = at_a + DEPTH * LINE
                while at_a < end:
                    for k in range(UNROLL):
                        for g in range(GM):
                            v0, v1, v2, v3 = load4(shared, at_a + k * LINE + g * STEP_M)
                            left[g * 4], left[g * 4 + 1], left[g * 4 + 2], left[g * 4 + 3] = v0, v1, v2, v3
                        for g in range(GN):
                            v0, v1, v2, v3 = load4(shared, at_b + k * BN + g * STEP_N)
                            right[g * 4], right[g * 4 + 1], right[g * 4 + 2], right[g * 4 + 3] = (
                                v0,
                                v1,
                                v2,
                                v3,
                            )
                        for i in range(TM):
                            for j in range(TN):
                                sums[i * TN + j] += left[i] * right[j]
                    at_a, at_b = at_a + UNROLL * LINE, at_b + UNROLL * BN
            if step < tiles:
                stage = int32(int32(int32(step) & 1) * STAGE)
                for p in range(PASSES_A):
                    at = int32(stage + k_mine * LINE + row_mine + p * ROWS_A)
                    for i in range(V):
                        shared[uint32(at + i * LINE)] = held_a[p * V + i]
                for p in range(PASSES_B):
                    at = int32(stage + SIZE_A + int32(k_load + p * ROWS_B) * BN + n_load)
                    v0, v1, v2, v3 = held_b[p * 4], held_b[p * 4 + 1], held_b[p * 4 + 2], held_b[p * 4 + 3]
                    store4(shared, at, v0, v1, v2, v3)
            cuda.syncthreads()

        for other in range(1, SLICES):
            if slice_ == other:
                for i in range(SUMS):
                    shared[uint32(mine + i * GRID)] = sums[i]
            cuda.syncthreads()
            if slice_ == 0:
                for i in range(SUMS):
                    sums[i] += shared[uint32(mine + i * GRID)]
            cuda.syncthreads()

        if slice_ == 0:
            if STAGED:
                for i in range(SUMS):
                    shared[uint32(mine + i * GRID)] = sums[i]
            last = group == int32(cuda.gridDim.y) - 1
            limit = wide if last else filters
            for i in range(TM):
                m = int32(m_first + m_mine + int32(i // 4) * STEP_M + i % 4)
                if m < m_total:
                    image = quotient(m, points_f, points_h)
                    rest = int32(m - image * points)
                    to = int32(image * out_image + group * filters)
                    add = int32(image * residual_image + group * filters)
                    if AXES > 0:
                        row = quotient(rest, width_f, width_h)
                        rest = int32(rest - row * width)
                        if AXES == 3:
                            plane = quotient(row, height_f, height_h)
                            row = int32(row - plane * height)
                            to = int32(to + plane * out_plane)
                            add = int32(add + plane * residual_plane)
                        to = int32(to + row * out_row)
                        add = int32(add + row * residual_row)
                    to, add = int32(to + rest * out_pitch), int32(add + rest * residual_pitch)
                    for g in range(GN):
                        n = int32(n_first + n_mine + g * STEP_N)
                        if n < limit:
                            right[0], right[1], right[2], right[3] = load4(bias, int32(group * columns + n))
                            if VECTOR and RES:
                                left[0], left[1], left[2], left[3] = read4(residual, int32(add + n))
                            for j in range(4):
                                at = i * TN + g * 4 + j
                                value = right[j] + (shared[uint32(mine + at * GRID)] if STAGED else sums[at])
                                if RES and not VECTOR:
                                    left[j] = float32(0)
                                    if n + j < filters:
                                        left[j] = read(residual, int32(add + n + j))
                                if RES == BEFORE:
                                    value = value + left[j]
                                value = act(value, a, b)
                                if RES == AFTER:
                                    value = value + left[j]
                                right[j] = value if int32(n + j) < filters else float32(0)
                            if VECTOR:
                                write4(out, int32(to + n), right[0], right[1], right[2], right[3])
                            else:
                                for j in range(4):
                                    if n + j < limit:
                                        write(out, int32(to + n + j), right[j])

    return conv
