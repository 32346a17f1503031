"""Products of pairs of matrices through shared memory, in float32.

A block computes a square tile of a result, a thread EACH by EACH elements of it, which stay in its registers.
A step along the depth multiplies EACH + EACH numbers from shared memory with each other: of 8 x 8 the
multiply-adds and the loads take a multiprocessor equally long, of fewer the loads take longer.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

import numpy as np
from numba import cuda, float32, int32, uint32, uint64

from nbcnn.kernels.cuda.simt.memory import reader, writer
from nbcnn.kernels.cuda.simt.offsets import digit, offset


def make(LEFT: str, RESULT: str, EACH: int, THREADS: int) -> Callable[..., None]:
    """left [rows, depth] times right [depth, cols] for every place along four axes or fewer.

    ``wide`` columns of the result are written, those past ``cols`` as zeros. An axis, the fastest first, is
    its extent, the `nbcnn.kernels.cuda.division.reciprocal`, and strides in left, right and result; there are
    ``tiles`` in all, ``across`` and ``down`` of each result. Rows lie a pitch apart; a matrix reaches over
    less than 2**32 elements.
    """
    read, write = reader(LEFT), writer(RESULT)
    SIDE = isqrt(THREADS)  # of the square of threads, and the depth of a step
    TILE = SIDE * EACH
    LINE = TILE + 1  # neighbours in a row of the left matrix come from different banks
    SUMS = EACH * EACH
    zero = np.float32(0)

    def matmul(
        left, right, result, tiles, rows, depth, cols, wide, left_pitch, right_pitch, result_pitch,
        across, across_factor, across_shift, down, down_factor, down_shift,
        n0, f0, h0, a0, b0, c0, n1, f1, h1, a1, b1, c1, n2, f2, h2, a2, b2, c2, n3, f3, h3, a3, b3, c3,
    ):  # fmt: skip
        a = cuda.shared.array((SIDE, LINE), float32)
        b = cuda.shared.array((SIDE, TILE), float32)
        sums = cuda.local.array(SUMS, float32)
        u = cuda.local.array(EACH, float32)
        v = cuda.local.array(EACH, float32)
        x = int32(cuda.threadIdx.x % SIDE)
        y = int32(cuda.threadIdx.x // SIDE)
        tile = int32(cuda.blockIdx.x)
        while tile < tiles:
            rest, column = digit(tile, across, across_factor, across_shift)
            pair, row = digit(rest, down, down_factor, down_shift)
            pair, d0 = digit(pair, n0, f0, h0)
            pair, d1 = digit(pair, n1, f1, h1)
            d3, d2 = digit(pair, n2, f2, h2)
            from_left = offset(d0, a0) + offset(d1, a1) + offset(d2, a2) + offset(d3, a3)
            from_right = offset(d0, b0) + offset(d1, b1) + offset(d2, b2) + offset(d3, b3)
            to = offset(d0, c0) + offset(d1, c1) + offset(d2, c2) + offset(d3, c3)
            row, column = int32(row * TILE), int32(column * TILE)
            for i in range(SUMS):
                sums[i] = zero
            k = int32(0)
            while k < depth:
                for i in range(EACH):  # what lies outside reads the first element, and counts as 0
                    h = int32(row + y + i * SIDE)
                    inside = h < rows and k + x < depth
                    at = uint32(h * left_pitch + k + x) if inside else uint32(0)
                    value = read(left, from_left + uint64(at))
                    a[x, y + i * SIDE] = value if inside else zero
                    w = int32(column + x + i * SIDE)
                    inside = w < cols and k + y < depth
                    at = uint32((k + y) * right_pitch + w) if inside else uint32(0)
                    value = right[from_right + uint64(at)]
                    b[y, x + i * SIDE] = value if inside else zero
                cuda.syncthreads()
                for step in range(SIDE):
                    for i in range(EACH):
                        u[i] = a[step, y + i * SIDE]
                        v[i] = b[step, x + i * SIDE]
                    for i in range(EACH):
                        for j in range(EACH):
                            sums[i * EACH + j] += u[i] * v[j]
                cuda.syncthreads()
                k += SIDE
            for i in range(EACH):
                for j in range(EACH):
                    h, w = int32(row + y + i * SIDE), int32(column + x + j * SIDE)
                    if h < rows and w < wide:
                        write(result, to + offset(h, result_pitch) + uint64(w), sums[i * EACH + j])
            tile += int32(cuda.gridDim.x)

    return matmul
