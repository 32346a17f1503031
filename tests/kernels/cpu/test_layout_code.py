"""Layout conversions, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from code_harness import Slot, kernel, random, run, up

lanes = pytest.mark.parametrize("lanes", [16, 8, 4])


@lanes
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize(
    "images, C, H, W, pads, pitch, fill",
    [
        (2, 3, 9, 21, (3, 2, 1, 0), 3, 3),  # pads: top, left, bottom, right
        (1, 3, 5, 16, (0, 0, 0, 0), 3, 3),
        (2, 1, 7, 5, (1, 1, 1, 1), 1, 1),
        (1, 1, 30, 30, (0, 0, 0, 0), 1, 1),
        (1, 3, 6, 18, (1, 1, 1, 1), 16, 16),
        (2, 4, 6, 18, (0, 1, 0, 1), 7, 5),  # zeros up to channel 5, channels 5 and 6 untouched
        (1, 2, 3, 3, (0, 0, 0, 0), 40, 36),
        (2, 37, 7, 11, (0, 0, 0, 0), 48, 48),
        (1, 32, 16, 16, (1, 0, 0, 1), 35, 32),
        (1, 21, 1, 1, (0, 0, 0, 0), 32, 32),
    ],
)
@pytest.mark.parametrize("gap", [0, 5])
def test_from_nchw(lanes, images, C, H, W, pads, pitch, fill, parts, gap):
    top, left, bottom, right = pads
    Hp, Wp = H + top + bottom, W + left + right
    x = random(images, C, H, W)
    a = Slot(images * C, H * W, H * W + gap, data=x)
    out = Slot(images * Hp * Wp, fill, pitch, start=2)
    sizes = (images, C, H, W, top, left, Hp, Wp, pitch, fill, Hp * Wp * pitch, a.pitch)
    run(kernel("layout:make_from_nchw", LANES=lanes), a, out, *sizes, parts=parts)
    want = np.zeros((images, Hp, Wp, fill), np.float32)
    want[:, top : top + H, left : left + W, :C] = x.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(out.view.reshape(want.shape), want)
    out.assert_untouched_beyond(fill)


@lanes
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize(
    "images, C, pixels, extra, gap",
    [(1, 16, 49, 0, 0), (2, 21, 33, 5, 0), (3, 1000, 1, 0, 24), (2, 3, 100, 0, 7), (1, 48, 64, 0, 0)],
)
def test_to_nchw(lanes, images, C, pixels, extra, gap, parts):
    a = Slot(images * pixels, C, up(C, lanes) + extra, data=random(images, pixels, C))
    out = Slot(images, C * pixels, C * pixels + gap, start=1)
    strides = (a.pitch, pixels * a.pitch, out.pitch, pixels)
    run(kernel("layout:make_to_nchw", LANES=lanes), a, out, images, C, pixels, *strides, parts=parts)
    want = a.view.reshape(images, pixels, C).transpose(0, 2, 1).reshape(images, C * pixels)
    np.testing.assert_array_equal(out.view, want)
    out.assert_untouched_beyond(C * pixels)


@lanes
@pytest.mark.parametrize("images, C, pixels, pitch", [(2, 21, 33, 48), (1, 5, 1, 16), (2, 16, 16, 16)])
def test_to_padded_planes(lanes, images, C, pixels, pitch):
    a = Slot(images * pixels, C, up(C, lanes), data=random(images, pixels, C))
    out = Slot(images * C, pixels, pitch, start=1)
    strides = (a.pitch, pixels * a.pitch, C * pitch, pitch)
    run(kernel("layout:make_to_nchw", LANES=lanes), a, out, images, C, pixels, *strides, parts=2)
    want = a.view.reshape(images, pixels, C).transpose(0, 2, 1).reshape(images * C, pixels)
    np.testing.assert_array_equal(out.view, want)
    out.assert_untouched_beyond(pixels)


@lanes
def test_unpadded_pixels_are_not_read_beyond_their_channels(lanes):
    """With pitch == C the last vector of the last pixel would end outside the input."""
    C, pixels = 5, 9
    a, out = Slot(pixels, C, data=random(pixels, C)), Slot(C, pixels)
    run(kernel("layout:make_to_nchw", LANES=lanes), a, out, 1, C, pixels, C, 0, 0, pixels)
    np.testing.assert_array_equal(out.view, a.view.T)


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize(
    "rows, width, pads", [(5, 1, (0, 0)), (7, 19, (2, 7)), (3, 16, (0, 5)), (4, 50, (0, 0))]
)
def test_copy(rows, width, pads, parts):
    a = Slot(rows, width, width + pads[0], start=3, data=random(rows, width))
    out = Slot(rows, width, width + pads[1], start=1)
    run(kernel("layout:make_copy"), a, out, rows, width, a.pitch, out.pitch, parts=parts)
    np.testing.assert_array_equal(out.view, a.view)
    out.assert_untouched_beyond(width)
