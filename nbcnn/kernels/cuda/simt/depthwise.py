"""Depthwise convolution in float32: a thread computes some neighbouring pixels of a few channels.

Neighbouring threads have neighbouring channels, so that all accesses are coalesced; taps of pixels that
overlap are read once a row. Bound by memory: a 3x3 window needs 9 products a value.

As assembled for 8.0, 3x3: 71 registers (88 with stride 2; 7x7: 114), 122 instructions a row of the window, of
which 48 FFMA for 4 pixels of 4 channels and 9 loads of 16 bytes.
"""

from __future__ import annotations

from typing import Any

from numba import cuda, float32, int32

from nbcnn.kernels.cuda.simt.activations import activation
from nbcnn.kernels.cuda.simt.integers import quotient
from nbcnn.kernels.cuda.simt.memory import reader, reader4, writer, writer4

BEFORE, AFTER = 1, 2  # `nbcnn.kernels.epilogue`


def make(KIND: str, WIDTH: int, KW: int, STRIDE: int, VECTOR: bool, ACT: str, RES: int) -> Any:
    """WIDTH pixels a thread, four channels of each if VECTOR, else one.

    KW and STRIDE are those of the columns where they are known (dilation 1), else 0: then each tap of each
    pixel is read by itself.
    """
    V = 4 if VECTOR else 1
    read, write = _access(KIND, VECTOR)
    load, _ = _access("f32", VECTOR)
    act = activation(ACT)
    COLUMNS = (WIDTH - 1) * STRIDE + KW if KW else WIDTH
    SUMS, HELD, TAPS = WIDTH * V, COLUMNS * V, max(KW, 1) * V

    def depthwise(
        x, w, bias, residual, out,
        total, vectors, vectors_f, vectors_h, strips, strips_f, strips_h, rows, rows_f, rows_h,
        channels, line, out_w, size_h, size_w, kernel_h, kernel_w,
        stride_h, stride_w, dilation_h, dilation_w, before_h, before_w,
        x_pitch, x_image, out_pitch, out_image, residual_pitch, residual_image, a, b,
    ):  # fmt: skip
        sums = cuda.local.array(SUMS, float32)
        held = cuda.local.array(HELD, float32)
        taps = cuda.local.array(TAPS, float32)
        more = cuda.local.array(V, float32)
        unit = int32(cuda.grid(1))
        while unit < total:
            rest = quotient(unit, vectors_f, vectors_h)
            c = int32(int32(unit - rest * vectors) * V)
            row = quotient(rest, strips_f, strips_h)
            q = int32(int32(rest - row * strips) * WIDTH)
            image = quotient(row, rows_f, rows_h)
            row = int32(row - image * rows)
            top = int32(row * stride_h - before_h)
            left = int32(q * stride_w - before_w)
            start = int32(image * x_image + c)

            load(bias, c, more, 0)
            for p in range(WIDTH):
                for j in range(V):
                    sums[p * V + j] = more[j]
            for r in range(kernel_h):
                h = int32(top + r * dilation_h)
                if h >= 0 and h < size_h:
                    line_at = int32(start + int32(h * size_w) * x_pitch)
                    tap_at = int32(int32(r * kernel_w) * line + c)
                    if KW:
                        for s in range(COLUMNS):
                            v = int32(left + s)
                            for j in range(V):
                                held[s * V + j] = float32(0)
                            if v >= 0 and v < size_w:
                                read(x, int32(line_at + v * x_pitch), held, s * V)
                        for s in range(KW):
                            load(w, int32(tap_at + s * line), taps, s * V)
                        for s in range(KW):
                            for p in range(WIDTH):
                                for j in range(V):
                                    sums[p * V + j] += held[(p * STRIDE + s) * V + j] * taps[s * V + j]
                    else:
                        for s in range(kernel_w):
                            load(w, int32(tap_at + s * line), taps, 0)
                            for p in range(WIDTH):
                                v = int32(left + p * stride_w + s * dilation_w)
                                if v >= 0 and v < size_w:
                                    read(x, int32(line_at + v * x_pitch), held, p * V)
                                    for j in range(V):
                                        sums[p * V + j] += held[p * V + j] * taps[j]

            to = int32(image * out_image + int32(row * out_w + q) * out_pitch + c)
            add = int32(image * residual_image + int32(row * out_w + q) * residual_pitch + c)
            for p in range(WIDTH):
                if q + p < out_w:
                    if RES:
                        read(residual, int32(add + p * residual_pitch), more, 0)
                    for j in range(V):
                        value = sums[p * V + j]
                        if RES == BEFORE:
                            value = value + more[j]
                        value = act(value, a, b)
                        if RES == AFTER:
                            value = value + more[j]
                        more[j] = value if int32(c + j) < channels else float32(0)
                    write(out, int32(to + p * out_pitch), more)
            unit = int32(unit + cuda.gridsize(1))

    return depthwise


def _access(KIND: str, VECTOR: bool) -> tuple[Any, Any]:
    """``read(array, i, values, at)`` into ``values`` from ``at`` on, and ``write(array, i, values)``."""
    if VECTOR:
        read4, write4 = reader4(KIND), writer4(KIND)

        @cuda.jit(device=True, inline="always")
        def read(array, i, values, at):
            values[at], values[at + 1], values[at + 2], values[at + 3] = read4(array, i)

        @cuda.jit(device=True, inline="always")
        def write(array, i, values):
            write4(array, i, values[0], values[1], values[2], values[3])
    else:
        read1, write1 = reader(KIND), writer(KIND)

        @cuda.jit(device=True, inline="always")
        def read(array, i, values, at):
            values[at] = read1(array, i)

        @cuda.jit(device=True, inline="always")
        def write(array, i, values):
            write1(array, i, values[0])

    return read, write
