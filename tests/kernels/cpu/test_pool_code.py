"""Pooling against float64: borders, dilation, ceil_mode overhang, both ways to count, NaN."""

from __future__ import annotations

import numpy as np
import pytest
from code_harness import EPS, Slot, assert_within, kernel, random, run, up

MAX, AVERAGE = 0, 1
lanes = pytest.mark.parametrize("lanes", [16, 8, 4])


def pooled(x, OP, out_hw, window, stride, start, dilation, plane):
    """Pooling of [images, H, W, C] in float64; ``plane``: padded size to count in, or None."""
    images, H, W, C = x.shape
    x = x.astype(np.float64)
    out = np.zeros((images, *out_hw, C))
    for oh, ow in np.ndindex(*out_hw):
        ys = oh * stride[0] - start[0] + dilation[0] * np.arange(window[0])
        xs = ow * stride[1] - start[1] + dilation[1] * np.arange(window[1])
        inside = x[:, ys[(ys >= 0) & (ys < H)]][:, :, xs[(xs >= 0) & (xs < W)]]
        if OP == MAX:
            out[:, oh, ow] = inside.max(axis=(1, 2), initial=-np.inf)
            continue
        count = inside.shape[1] * inside.shape[2]
        if plane is not None:
            count = (ys + start[0] < plane[0]).sum() * (xs + start[1] < plane[1]).sum()
        out[:, oh, ow] = inside.sum(axis=(1, 2)) / count
    return out


def check_window(OP, LANES, *, images=1, H, W, C, window, stride, pads=(0, 0, 0, 0), dilation=(1, 1),
                 ceil=False, mode=0, extra=0, parts=1, poke=None):  # fmt: skip
    top, left, bottom, right = pads
    plane = (H + top + bottom, W + left + right)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
    OH, OW = ((n - r + (s - 1) * ceil) // s + 1 for n, r, s in zip(plane, reach, stride, strict=True))
    x = random(images, H, W, C)
    if poke is not None:
        x.reshape(-1)[::7] = poke
    width = up(C, LANES)
    a = Slot(images * H * W, C, width + extra, data=x)
    out = Slot(images * OH * OW, C, width + extra, start=2)
    run(
        kernel("pool:make_window", OP=OP, LANES=LANES), a, out, images, H, W, OH, OW, *window, *stride,
        top, left, *dilation, width, a.pitch, out.pitch, H * W * a.pitch, OH * OW * out.pitch, mode, *plane,
        parts=parts,
    )  # fmt: skip
    want = pooled(x, OP, (OH, OW), window, stride, (top, left), dilation, plane if mode else None)
    got = out.view.reshape(want.shape)
    out.assert_untouched_beyond(width)
    if OP == MAX:
        np.testing.assert_array_equal(got, want)
    else:  # n points: n - 1 additions, the reciprocal and the product
        n = window[0] * window[1]
        bound = pooled(
            np.abs(x), OP, (OH, OW), window, stride, (top, left), dilation, plane if mode else None
        )
        assert_within(got, want, (n + window[0] + 2) * EPS * bound)


WINDOWS = {
    "2x2/2": {"images": 2, "H": 8, "W": 10, "C": 16, "window": (2, 2), "stride": (2, 2)},
    "3x3/2 pad": {"H": 9, "W": 11, "C": 37, "window": (3, 3), "stride": (2, 2), "pads": (1, 1, 1, 1)},
    "wide": {
        "H": 5,
        "W": 6,
        "C": 67,
        "window": (3, 2),
        "stride": (1, 2),
        "pads": (1, 0, 1, 1),
        "extra": 12,
        "images": 2,
    },
    "ceil": {"H": 8, "W": 7, "C": 5, "window": (3, 3), "stride": (2, 2), "ceil": True, "pads": (1, 0, 0, 1)},
    "dilated": {
        "H": 9,
        "W": 9,
        "C": 4,
        "window": (3, 2),
        "stride": (1, 1),
        "dilation": (2, 3),
        "pads": (2, 1, 2, 3),
    },
    "larger than the image": {
        "H": 3,
        "W": 2,
        "C": 8,
        "window": (5, 5),
        "stride": (1, 1),
        "pads": (2, 2, 2, 2),
    },
}


@lanes
@pytest.mark.parametrize("OP, mode", [(MAX, 0), (AVERAGE, 0), (AVERAGE, 1)])
@pytest.mark.parametrize("name", WINDOWS)
def test_window(OP, mode, lanes, name):
    for parts in (1, 2, 3):
        check_window(OP, lanes, mode=mode, parts=parts, **WINDOWS[name])


@lanes
@pytest.mark.parametrize("poke", [np.nan, -np.inf, np.inf])
def test_max_keeps_nan_and_infinities(lanes, poke):
    check_window(MAX, lanes, H=7, W=7, C=19, window=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1), poke=poke)


@lanes
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("OP", [MAX, AVERAGE])
@pytest.mark.parametrize(
    "images, rows, C", [(1, 49, 130), (3, 1, 16), (2, 64, 5), (1, 1000, 37), (1, 65, 64), (2, 70, 173)]
)
def test_global(OP, lanes, images, rows, C, parts):
    width = up(C, lanes)
    a = Slot(images * rows, C, width + 4, data=random(images, rows, C) + 1)
    out = Slot(images, C, width + 8, start=1)
    sizes = (images, rows, width, a.pitch, rows * a.pitch, out.pitch)
    run(kernel("pool:make_global", OP=OP, LANES=lanes), a, out, *sizes, parts=parts)
    x = a.view.reshape(images, rows, C).astype(np.float64)
    if OP == MAX:
        np.testing.assert_array_equal(out.view, x.max(axis=1))
    else:  # a run of 64 points, then the sum of the runs
        roundings = 64 + -(-rows // 64) + 2
        assert_within(out.view, x.mean(axis=1), roundings * EPS * np.abs(x).mean(axis=1))
    out.assert_untouched_beyond(width)
