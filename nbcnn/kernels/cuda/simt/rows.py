"""Few rows times a matrix in float32: dense layers of small batches, bound by the weights' way from memory.

A block computes FILTERS sums of up to ROWS rows. Its threads share the terms, four at a time, so that weights
are read once and in order, and add their parts in pairs through shared memory. One row, as assembled for
8.0: 40 registers, 49 to 56 instructions for 64 bytes of weights a thread; of 8 rows 224, of which 128 FFMA.
"""

from __future__ import annotations

from typing import Any

from numba import cuda, float32, int32, uint32

from nbcnn.kernels.cuda.simt.activations import activation
from nbcnn.kernels.cuda.simt.memory import reader, reader4, writer

BEFORE, AFTER = 1, 2  # `nbcnn.kernels.epilogue`


def make(KIND: str, ROWS: int, FILTERS: int, THREADS: int, ACT: str, RES: int) -> Any:
    """THREADS is a power of two."""
    read, read4, write, load4 = reader(KIND), reader4(KIND), writer(KIND), reader4("f32")
    act = activation(ACT)
    TAPS = FILTERS * 4
    SUMS, SHARED, HALF = ROWS * FILTERS, ROWS * FILTERS * THREADS, THREADS // 2

    def product(
        x, w, bias, residual, out, rows, terms, filters, wide, x_image, out_image, residual_image, a, b
    ):
        shared = cuda.shared.array(SHARED, float32)
        sums = cuda.local.array(SUMS, float32)
        taps = cuda.local.array(TAPS, float32)
        me = int32(cuda.threadIdx.x)
        first = int32(int32(cuda.blockIdx.x) * FILTERS)
        for i in range(SUMS):
            sums[i] = float32(0)
        k = int32(me * 4)
        while k < terms:
            for f in range(FILTERS):
                w0, w1, w2, w3 = float32(0), float32(0), float32(0), float32(0)
                if first + f < filters:
                    w0, w1, w2, w3 = load4(w, int32(int32(first + f) * terms + k))
                taps[f * 4] = w0
                taps[f * 4 + 1] = w1
                taps[f * 4 + 2] = w2
                taps[f * 4 + 3] = w3
            for r in range(ROWS):
                if r < rows:
                    x0, x1, x2, x3 = read4(x, int32(r * x_image + k))
                    for f in range(FILTERS):
                        i = r * FILTERS + f
                        sums[i] += x0 * taps[f * 4]
                        sums[i] += x1 * taps[f * 4 + 1]
                        sums[i] += x2 * taps[f * 4 + 2]
                        sums[i] += x3 * taps[f * 4 + 3]
            k = int32(k + THREADS * 4)
        for i in range(SUMS):
            shared[uint32(i * THREADS + me)] = sums[i]
        cuda.syncthreads()
        count = int32(HALF)
        while count > 0:
            if me < count:
                for i in range(SUMS):
                    at = int32(i * THREADS + me)
                    shared[uint32(at)] += shared[uint32(at + count)]
            cuda.syncthreads()
            count = int32(count >> 1)
        i = me
        while i < SUMS:
            r, n = int32(i // FILTERS), int32(first + i % FILTERS)
            if r < rows and n < wide:
                value = float32(0)
                if n < filters:
                    value = shared[uint32(i * THREADS)] + bias[uint32(n)]
                    more = float32(0)
                    if RES:
                        more = read(residual, uint32(r * residual_image + n))
                    if RES == BEFORE:
                        value = value + more
                    value = act(value, a, b)
                    if RES == AFTER:
                        value = value + more
                write(out, uint32(r * out_image + n), value)
            i = int32(i + THREADS)

    return product
