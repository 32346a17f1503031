"""Pooling over windows.

Images lie as pixels of channels, volumes as their planes one below the other. Rows of the grid share the
planes of all results, its columns the points of a plane, which are counted in 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import cuda, float32, int32, uint64

from nbcnn.kernels.cuda.simt.memory import reader, writer
from nbcnn.kernels.cuda.simt.offsets import digit, offset

EACH = 4
"""Channels that a thread computes, which share the arithmetic of their window: a divisor of all vectors.
They lie apart, so that neighbouring threads have neighbouring channels."""


@cuda.jit(device=True)
def _points(first, taps, dilation, end):
    """How many taps of a window from ``first`` on lie in [0, end)."""
    count = int32(0)
    for k in range(taps):
        count += 0 <= first + k * dilation < end
    return count


def make_window(OP: str, KIND: str, TAPS: tuple[int, int, int]) -> Callable[..., None]:
    """The ``max`` (NaN wins) or ``mean`` of each window of TAPS points.

    There are ``planes`` of ``units`` each, ``some`` units (EACH channels, padding and all) to a pixel, of
    which ``channels`` channels are not padding. Of depth, height and width of the source: ``size``,
    ``stride``, ``before``, ``dilation``, and the ``end`` of the points that a mean counts, which with
    ``include`` begin at the padding's first, else at 0. ``out_w`` and ``out_d`` are extents of the result.
    """
    read, write = reader(KIND), writer(KIND)
    DEEP, HIGH, LONG = TAPS
    low, zero = np.float32(-np.inf if OP == "max" else 0), np.float32(0)

    def window(
        source, out, planes, units, channels, include,
        some, some_factor, some_shift, out_w, out_w_factor, out_w_shift, out_d, out_d_factor, out_d_shift,
        size_d, stride_d, before_d, dilation_d, end_d, size_h, stride_h, before_h, dilation_h, end_h,
        size_w, stride_w, before_w, dilation_w, end_w,
        pitch, image_stride, out_pitch, out_plane, out_image,
    ):  # fmt: skip
        total = cuda.local.array(EACH, float32)
        plane = cuda.blockIdx.y
        while plane < planes:  # a range would divide, to count its steps
            image, od = digit(plane, out_d, out_d_factor, out_d_shift)
            z = int32(od * stride_d - before_d)
            from_image = offset(image, image_stride)
            to_plane = offset(image, out_image) + offset(od, out_plane)
            i = cuda.grid(1)
            while i < units:
                pixel, channel = digit(i, some, some_factor, some_shift)
                oh, ow = digit(pixel, out_w, out_w_factor, out_w_shift)
                y, x = int32(oh * stride_h - before_h), int32(ow * stride_w - before_w)
                for k in range(EACH):
                    total[k] = low
                for d in range(DEEP):
                    for h in range(HIGH):
                        for w in range(LONG):
                            at_d = int32(z + d * dilation_d)
                            at_h = int32(y + h * dilation_h)
                            at_w = int32(x + w * dilation_w)
                            inside = 0 <= at_d < size_d and 0 <= at_h < size_h and 0 <= at_w < size_w
                            # What lies outside reads the first pixel: no load waits for a branch.
                            point = int32((at_d * size_h + at_h) * size_w + at_w) if inside else int32(0)
                            at = from_image + offset(point, pitch) + uint64(channel)
                            for k in range(EACH):
                                value = read(source, at + uint64(k * some))
                                value = value if inside else low
                                if OP == "max":
                                    total[k] = value if value > total[k] or value != value else total[k]
                                else:
                                    total[k] += value
                if OP == "mean":
                    # A mean counts points in [0, end): the plane, or the plane with its padding.
                    if include:
                        points = _points(od * stride_d, DEEP, dilation_d, end_d)
                        points *= _points(oh * stride_h, HIGH, dilation_h, end_h)
                        points *= _points(ow * stride_w, LONG, dilation_w, end_w)
                    else:
                        points = _points(z, DEEP, dilation_d, end_d)
                        points *= _points(y, HIGH, dilation_h, end_h)
                        points *= _points(x, LONG, dilation_w, end_w)
                    share = float32(1) / float32(points)
                    for k in range(EACH):
                        total[k] *= share
                to = to_plane + offset(pixel, out_pitch) + uint64(channel)
                for k in range(EACH):
                    real = channel + k * some < channels
                    write(out, to + uint64(k * some), total[k] if real else zero)
                i += cuda.gridsize(1)
            plane += cuda.gridDim.y

    return window
