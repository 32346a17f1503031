"""Normalisation by means and variances: of rows, and of the planes of NHWC images; local response.

Slots; addresses in bytes, strides and pitches in floats, numbers as float32 bits:

====  ===============  ================  ================  ==============  ===================
slot  make_rows        make_moments      make_combine      make_apply      make_lrn
====  ===============  ================  ================  ==============  ===================
0     in               in                moments           in              in
1     out              moments           weight [C]        out             out
2     weight [C]       images            images            moments         scratch
3     bias [C]         pixels            C                 bias [width]    areas
4     rows             width             width             images          rows
5     C                in pitch          groups            pixels          C
6     in pitch         in image stride   pixels            width           in pitch
7     out pitch                          epsilon           in pitch        out pitch
8     epsilon                                              out pitch       size
9     1: centred                                           in image        alpha / size
10                                                         out image       bias
11                                                         act a
12                                                         act b
====  ===============  ================  ================  ==============  ===================

Moments of an image are two rows of ``width`` floats (a multiple of LANES): of each channel the mean and the
sum of squared distances from it, which `make_combine` replaces by the mean of the channel's group and the
weight over the deviation there. The scratch of ``make_lrn`` is an area for each of ``areas`` parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nbcnn.kernels.cpu.code.activations import activate
from nbcnn.kernels.cpu.code.simd import (
    arg,
    argf,
    load_f32,
    store_f32,
    vfirst,
    vfma,
    vload,
    vload_first,
    vset,
    vsqrt,
    vstore,
    vstore_first,
    vsum,
    vzero,
)

_RUN = 64
"""Pixels whose moments are computed while they are in L1, and then joined to those before (Chan, Golub,
LeVeque, 1983): rounding errors do not grow with the plane."""


def make_rows(LANES: int) -> Callable[[int, int, int], None]:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias of each row; the mean of x^2 if not centred."""

    def rows_of(args, part, parts):
        source, out, weight, bias = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        rows, C, in_pitch, out_pitch = arg(args, 4), arg(args, 5), arg(args, 6), arg(args, 7)
        epsilon, centred = argf(args, 8), arg(args, 9)
        whole = C - C % LANES
        rest = C - whole
        for row in range(rows * part // parts, rows * (part + 1) // parts):
            x, y = source + 4 * row * in_pitch, out + 4 * row * out_pitch
            tail = vload_first(x + 4 * whole, rest, LANES)
            mean = vzero(LANES)
            if centred == 1:
                total, more = tail, vzero(LANES)
                for i in range(0, 4 * whole - 4 * LANES, 8 * LANES):
                    total += vload(x + i, LANES)
                    more += vload(x + i + 4 * LANES, LANES)
                if whole % (2 * LANES) != 0:
                    total += vload(x + 4 * whole - 4 * LANES, LANES)
                mean = vset(vsum(total + more) / np.float32(C), LANES)
            away = vfirst(rest, tail - mean, vzero(LANES))
            squares, others = away * away, vzero(LANES)
            for i in range(0, 4 * whole - 4 * LANES, 8 * LANES):
                a, b = vload(x + i, LANES) - mean, vload(x + i + 4 * LANES, LANES) - mean
                squares = vfma(a, a, squares)
                others = vfma(b, b, others)
            if whole % (2 * LANES) != 0:
                a = vload(x + 4 * whole - 4 * LANES, LANES) - mean
                squares = vfma(a, a, squares)
            variance = vsum(squares + others) / np.float32(C)
            scale = vset(np.float32(1.0) / np.float32(math.sqrt(variance + epsilon)), LANES)
            for i in range(0, 4 * whole, 4 * LANES):
                z = (vload(x + i, LANES) - mean) * scale
                vstore(y + i, vfma(z, vload(weight + i, LANES), vload(bias + i, LANES)))
            if rest > 0:
                z = vfma(away * scale, vload(weight + 4 * whole, LANES), vload(bias + 4 * whole, LANES))
                vstore_first(y + 4 * whole, z, rest)

    return rows_of


def make_moments(LANES: int) -> Callable[[int, int, int], None]:
    """The mean and the sum of squared distances from it of each channel of each image."""

    def moments_of(args, part, parts):
        source, moments, images, pixels = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        width, step, stride = arg(args, 4), 4 * arg(args, 5), 4 * arg(args, 6)
        vectors = width // LANES
        for item in range(images * vectors * part // parts, images * vectors * (part + 1) // parts):
            image = item // vectors
            column = 4 * LANES * (item - image * vectors)
            x = source + image * stride + column
            mean, far = vzero(LANES), vzero(LANES)
            for first in range(0, pixels, _RUN):
                count = min(_RUN, pixels - first)
                at = x + first * step
                total = vzero(LANES)
                for i in range(count):
                    total += vload(at + i * step, LANES)
                here = total / np.float32(count)
                squares = vzero(LANES)
                for i in range(count):
                    away = vload(at + i * step, LANES) - here
                    squares = vfma(away, away, squares)
                delta = here - mean
                share = np.float32(count) / np.float32(first + count)
                mean = vfma(delta, vset(share, LANES), mean)
                far += vfma(delta * delta, vset(share * np.float32(first), LANES), squares)
            to = moments + 8 * image * width + column
            vstore(to, mean)
            vstore(to + 4 * width, far)

    return moments_of


def make_combine() -> Callable[[int, int, int], None]:
    """Mean and weight / deviation of each group, for each of its channels."""

    def combine(args, part, parts):
        moments, weight, images, C = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        width, groups, pixels, epsilon = arg(args, 4), arg(args, 5), arg(args, 6), argf(args, 7)
        size = C // groups
        for item in range(images * groups * part // parts, images * groups * (part + 1) // parts):
            image = item // groups
            first = 4 * size * (item - image * groups)
            means = moments + 8 * image * width + first
            far = means + 4 * width
            mean = np.float32(0.0)
            for i in range(0, 4 * size, 4):
                mean += load_f32(means + i)
            mean /= np.float32(size)
            total = np.float32(0.0)
            for i in range(0, 4 * size, 4):
                delta = load_f32(means + i) - mean
                total += load_f32(far + i) + np.float32(pixels) * delta * delta
            variance = total / (np.float32(pixels) * np.float32(size))
            scale = np.float32(1.0) / np.float32(math.sqrt(variance + epsilon))
            for i in range(0, 4 * size, 4):
                store_f32(means + i, mean)
                store_f32(far + i, load_f32(weight + first + i) * scale)

    return combine


def make_apply(ACT: int, LANES: int) -> Callable[[int, int, int], None]:
    """act((x - mean) * scale + bias), mean and scale of each channel of each image."""

    def apply(args, part, parts):
        source, out, moments, bias = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        images, pixels, width = arg(args, 4), arg(args, 5), arg(args, 6)
        step, out_step, stride, out_stride = (
            4 * arg(args, 7), 4 * arg(args, 8), 4 * arg(args, 9), 4 * arg(args, 10)
        )  # fmt: skip
        act_a, act_b = argf(args, 11), argf(args, 12)
        for item in range(images * pixels * part // parts, images * pixels * (part + 1) // parts):
            image = item // pixels
            pixel = item - image * pixels
            x, y = source + image * stride + pixel * step, out + image * out_stride + pixel * out_step
            means = moments + 8 * image * width
            for i in range(0, 4 * width, 4 * LANES):
                away = vload(x + i, LANES) - vload(means + i, LANES)
                z = vfma(away, vload(means + 4 * width + i, LANES), vload(bias + i, LANES))
                vstore(y + i, activate(z, ACT, act_a, act_b))

    return apply


def make_lrn(QUARTERS: int, LANES: int) -> Callable[[int, int, int], None]:
    """x / (bias + alpha / size * sum of x^2 over ``size`` channels) ** (QUARTERS / 4): 2, 3 or 4 quarters."""

    def lrn(args, part, parts):
        source, out, scratch, areas = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        rows, C, in_pitch, out_pitch = arg(args, 4), arg(args, 5), arg(args, 6), arg(args, 7)
        size, alpha, bias = arg(args, 8), argf(args, 9), argf(args, 10)
        if part >= areas:
            return
        parts = min(parts, areas)
        whole = C - C % LANES
        rest = C - whole
        # A line of squares with room for the window of the first channel and of the last.
        line = scratch + 4 * part * (whole + 2 * LANES + size)
        before = (size - 1) // 2
        for i in range(0, 4 * before, 4):
            store_f32(line + i, np.float32(0.0))
        for i in range(4 * (before + C), 4 * (whole + 2 * LANES + size), 4):
            store_f32(line + i, np.float32(0.0))
        middle = line + 4 * before
        factor, start = vset(alpha, LANES), vset(bias, LANES)
        for row in range(rows * part // parts, rows * (part + 1) // parts):
            x, y = source + 4 * row * in_pitch, out + 4 * row * out_pitch
            for i in range(0, 4 * whole, 4 * LANES):
                v = vload(x + i, LANES)
                vstore(middle + i, v * v)
            tail = vload_first(x + 4 * whole, rest, LANES)
            vstore_first(middle + 4 * whole, tail * tail, rest)
            for i in range(0, 4 * C, 4 * LANES):
                total = vload(line + i, LANES)
                for shift in range(4, 4 * size, 4):
                    total += vload(line + i + shift, LANES)
                energy = vfma(total, factor, start)
                root = vsqrt(energy)
                if QUARTERS == 3:
                    root = root * vsqrt(root)
                if QUARTERS == 4:
                    root = energy
                if i < 4 * whole:
                    vstore(y + i, vload(x + i, LANES) / root)
                else:
                    vstore_first(y + i, tail / root, rest)

    return lrn
