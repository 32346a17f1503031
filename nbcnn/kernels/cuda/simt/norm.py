"""Normalisation of the planes of images, before and after `shared_rows.make_combine`; local response.

Images lie as pixels of ``width`` channels, those from ``valid`` on being padding: zeros are written there.
Rows of the grid share the images. A unit is what one thread does; ``factor`` and ``shift`` divide by those of
a pixel.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import cuda, float32, int32

from nbcnn.kernels.cuda.simt.activations import activation
from nbcnn.kernels.cuda.simt.elementary import power
from nbcnn.kernels.cuda.simt.memory import reader, writer
from nbcnn.kernels.cuda.simt.offsets import digit, offset

NEAR = 64
"""Pixels whose moments are computed while they are in a cache, and then joined to those before (Chan, Golub,
LeVeque, 1983): rounding errors do not grow with the plane."""


def make_moments(KIND: str) -> Callable[..., None]:
    """Of each channel, in every ``run`` pixels, the mean and the sum of squared distances from it.

    ``sums`` is [images, chunks, 2, width]; a thread has one channel of one chunk.
    """
    read = reader(KIND)

    def moments(x, sums, images, units, width, factor, shift, run, pixels, pitch, x_image):
        image = int32(cuda.blockIdx.y)
        while image < images:
            unit = int32(cuda.grid(1))
            while unit < units:
                chunk, c = digit(unit, width, factor, shift)
                pixel = int32(chunk * run)
                stop = min(pixels, int32(pixel + run))
                count, mean, squares = float32(0), float32(0), float32(0)
                while pixel < stop:
                    last = min(stop, int32(pixel + NEAR))
                    at = offset(image, x_image) + offset(c, 1)
                    points = float32(last - pixel)
                    near = float32(0)
                    i = pixel
                    while i < last:
                        near += read(x, at + offset(i, pitch))
                        i += 1
                    near = near / points
                    away = float32(0)
                    i = pixel
                    while i < last:
                        far = read(x, at + offset(i, pitch)) - near
                        away += far * far
                        i += 1
                    apart = near - mean
                    share = points / (count + points)
                    mean += apart * share
                    squares += away + apart * apart * (count * share)
                    count += points
                    pixel = last
                to = offset(image, 2 * units) + offset(chunk, 2 * width) + offset(c, 1)
                sums[to] = mean
                sums[to + offset(width, 1)] = squares
                unit += int32(cuda.gridsize(1))
            image += int32(cuda.gridDim.y)

    return moments


def make_apply(ACT: str, KIND: str) -> Callable[..., None]:
    """out = act((x - mean) * scale + bias), means and scales as `shared_rows.make_combine` left them.

    A thread computes EACH channels, ``apart`` from each other; ``width`` is EACH * ``apart``.
    """
    read, write, act = reader(KIND), writer(KIND), activation(ACT)

    @cuda.jit(device=True)
    def finish(out, to, c, valid, value, mean, scale, bias, a, b):
        value = act((value - mean) * scale + bias[offset(c, 1)], a, b)
        write(out, to + offset(c, 1), value if c < valid else float32(0))

    def apply(
        x, out, moments, bias, images, units, width, valid, apart, factor, shift,
        x_pitch, x_image, out_pitch, out_image, a, b,
    ):  # fmt: skip
        image = int32(cuda.blockIdx.y)
        while image < images:
            unit = int32(cuda.grid(1))
            means = offset(image, 2 * width)
            scales = means + offset(width, 1)
            while unit < units:
                pixel, c0 = digit(unit, apart, factor, shift)
                c1, c2, c3 = int32(c0 + apart), int32(c0 + 2 * apart), int32(c0 + 3 * apart)
                at = offset(image, x_image) + offset(pixel, x_pitch)
                to = offset(image, out_image) + offset(pixel, out_pitch)
                x0, x1 = read(x, at + offset(c0, 1)), read(x, at + offset(c1, 1))
                x2, x3 = read(x, at + offset(c2, 1)), read(x, at + offset(c3, 1))
                m0, s0 = moments[means + offset(c0, 1)], moments[scales + offset(c0, 1)]
                m1, s1 = moments[means + offset(c1, 1)], moments[scales + offset(c1, 1)]
                m2, s2 = moments[means + offset(c2, 1)], moments[scales + offset(c2, 1)]
                m3, s3 = moments[means + offset(c3, 1)], moments[scales + offset(c3, 1)]
                finish(out, to, c0, valid, x0, m0, s0, bias, a, b)
                finish(out, to, c1, valid, x1, m1, s1, bias, a, b)
                finish(out, to, c2, valid, x2, m2, s2, bias, a, b)
                finish(out, to, c3, valid, x3, m3, s3, bias, a, b)
                unit += int32(cuda.gridsize(1))
            image += int32(cuda.gridDim.y)

    return apply


def make_lrn(KIND: str) -> Callable[..., None]:
    """out = x / (bias + alpha * sum of x^2 over ``before`` and ``after`` neighbours) ^ beta; not in place."""
    read, write = reader(KIND), writer(KIND)

    def lrn(x, out, units, width, valid, factor, shift, x_pitch, out_pitch, before, after, alpha, bias, beta):
        unit = int32(cuda.grid(1))
        while unit < units:
            pixel, c = digit(unit, width, factor, shift)
            at = offset(pixel, x_pitch)
            near, last = max(int32(0), int32(c - before)), min(int32(valid - 1), int32(c + after))
            total = float32(0)
            while near <= last:
                value = read(x, at + offset(near, 1))
                total += value * value
                near += int32(1)
            value = read(x, at + offset(c, 1)) / power(bias + alpha * total, beta)
            write(out, offset(pixel, out_pitch) + offset(c, 1), value if c < valid else float32(0))
            unit += int32(cuda.gridsize(1))

    return lrn
