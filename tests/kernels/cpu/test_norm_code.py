"""Normalisation kernels between poisoned neighbours, at every kind of tail."""

from __future__ import annotations

import numpy as np
import pytest
from code_harness import EPS, Slot, assert_within, bits, kernel, random, run, up

lanes = pytest.mark.parametrize("lanes", [16, 8, 4])
SHAPES = [(5, 1, 0), (4, 3, 1), (3, 16, 0), (7, 21, 11), (2, 32, 0), (1, 300, 0)]


def padded(values, size):
    """A vector with NaN behind its end: what is read there must not matter."""
    return Slot(1, size, data=np.concatenate([values, np.full(size - len(values), np.nan, np.float32)]))


@lanes
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("centred", [0, 1])
@pytest.mark.parametrize("rows, C, extra", SHAPES)
def test_rows(lanes, rows, C, extra, centred, parts):
    data, weight, bias = random(rows, C) + 2, random(C, seed=1), random(C, seed=2)
    a, out = Slot(rows, C, C + extra, data=data), Slot(rows, C, C + extra, start=1)
    vectors = [padded(v, up(C, lanes)) for v in (weight, bias)]
    block = (a, out, *vectors, rows, C, a.pitch, out.pitch, bits(1e-2), centred)
    run(kernel("norm:make_rows", LANES=lanes), *block, parts=parts)
    x = data.astype(np.float64)
    away = x - x.mean(1, keepdims=True) if centred else x
    want = away / np.sqrt(np.square(away).mean(1, keepdims=True) + np.float32(1e-2)) * weight + bias
    # The mean of values near 2 errs by C EPS of them, against deviations of at least 0.1.
    assert_within(out.view, want, (3 * C + 20) * 10 * EPS * (1 + abs(weight) + abs(want)))
    out.assert_untouched_beyond(C)


@lanes
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("size, quarters", [(1, 2), (2, 3), (5, 3), (5, 4), (40, 2)])
@pytest.mark.parametrize("rows, C, extra", SHAPES)
def test_local_response(lanes, rows, C, extra, size, quarters, parts):
    data = random(rows, C)
    a, out = Slot(rows, C, C + extra, data=data), Slot(rows, C, C + extra, start=1)
    line = C - C % lanes + 2 * lanes + size
    scratch = Slot(2, line)
    block = (a, out, scratch, 2, rows, C, a.pitch, out.pitch, size, bits(0.3), bits(1.5))
    run(kernel("norm:make_lrn", QUARTERS=quarters, LANES=lanes), *block, parts=parts)
    squares = np.square(data.astype(np.float64))
    energy = np.empty_like(squares)
    for c in range(C):
        seen = squares[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1]
        energy[:, c] = 1.5 + np.float32(0.3) * seen.sum(1)
    want = data / energy ** (quarters / 4)
    assert_within(out.view, want, (size + 8) * EPS * abs(want))
    out.assert_untouched_beyond(C)


@lanes
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize("pixels", [1, 64, 150])
def test_planes(lanes, groups, pixels, parts):
    images, C = 2, 6
    width = up(C, lanes)
    data, weight, bias = random(images, pixels, C) * 3 + 50, random(C, seed=1), random(C, seed=2)
    a = Slot(images * pixels, C, width, data=data)
    out, moments = Slot(images * pixels, C, width, start=1), Slot(2 * images, width)
    stride = pixels * width
    look = (a, moments, images, pixels, width, width, stride)
    run(kernel("norm:make_moments", LANES=lanes), *look, parts=parts)
    join = (moments, Slot(1, C, data=weight), images, C, width, groups, pixels, bits(1e-2))
    run(kernel("norm:make_combine"), *join, parts=parts)
    biases = Slot(1, width, data=np.concatenate([bias, np.zeros(width - C, np.float32)]))
    apply = (
        a,
        out,
        moments,
        biases,
        images,
        pixels,
        width,
        width,
        width,
        stride,
        stride,
        bits(-1e30),
        bits(1e30),
    )
    run(kernel("norm:make_apply", ACT=0, LANES=lanes), *apply, parts=parts)
    x = data.astype(np.float64).reshape(images, pixels, groups, -1)
    away = x - x.mean((1, 3), keepdims=True)
    want = away / np.sqrt(np.square(away).mean((1, 3), keepdims=True) + np.float32(1e-2))
    want = want.reshape(images * pixels, C) * weight + bias
    # Values near 50, deviations of at least 0.1 (of a single one 0): 500 roundings a term.
    assert_within(out.view, want, 5000 * EPS * (1 + abs(weight) + abs(want)))
