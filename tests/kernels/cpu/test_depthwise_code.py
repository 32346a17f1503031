"""Depthwise convolution against float64: borders, tails, strides, dilation, residuals, shares.

In any order, a float32 sum of n products and a bias is within (n + 1) * 2**-24 * (sum |x||w| +
|bias|) of the exact one, to first order; the residual adds one rounding, and clamping none.
"""

from __future__ import annotations

import numpy as np
import pytest
from activation_formulas import CASES, A, B
from code_harness import EPS, Slot, assert_within, bits, kernel, random, run, up

from nbcnn.kernels.activation_ids import ACTIVATIONS

lanes = pytest.mark.parametrize("lanes", [16, 8, 4])


def convolved(x, w, bias, out_hw, stride, start, dilation):
    """[images, H, W, C] by [KH, KW, C] in float64."""
    images, H, W, C = x.shape
    KH, KW = w.shape[:2]
    top, left = start
    reach = [
        (n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(out_hw, stride, w.shape, dilation, strict=False)
    ]
    padded = np.zeros((images, max(H + top, reach[0]), max(W + left, reach[1]), C))
    padded[:, top : top + H, left : left + W] = x
    out = np.zeros((images, *out_hw, C)) + bias
    for kh, kw in np.ndindex(KH, KW):
        y, z = kh * dilation[0], kw * dilation[1]
        rows = padded[:, y : y + (out_hw[0] - 1) * stride[0] + 1 : stride[0]]
        out += rows[:, :, z : z + (out_hw[1] - 1) * stride[1] + 1 : stride[1]] * w[kh, kw].astype(np.float64)
    return out


def check(
    lanes, *, generic=False, images=1, H=7, W=9, C=21, kernel_size=(3, 3), stride=(1, 1), WB=4,
    pads=(1, 1, 1, 1), dilation=(1, 1), act="clamp", RES=0, extra=0, parts=1, in_place=False,
):  # fmt: skip
    (KH, KW), (top, left, bottom, right) = kernel_size, pads
    OH, OW = (
        (n - d * (k - 1) - 1) // s + 1
        for n, d, k, s in zip(
            (H + top + bottom, W + left + right), dilation, kernel_size, stride, strict=True
        )
    )
    width = up(C, lanes)
    x, w, bias = random(images, H, W, C), random(KH, KW, C, seed=1), random(C, seed=2)
    res = random(images, OH, OW, C, seed=3)
    a = Slot(images * H * W, C, width + extra, data=x)
    add = Slot(images * OH * OW, C, width + 2 * extra, start=2, data=res)
    out = add if in_place else Slot(images * OH * OW, C, width + extra, start=1)
    packed = np.full((KH * KW, width), np.nan, np.float32)
    packed[:, :C] = w.reshape(KH * KW, C)
    packed = np.ascontiguousarray(packed.reshape(KH * KW, -1, lanes).transpose(1, 0, 2))
    code = {"ACT": ACTIVATIONS[act], "RES": RES, "LANES": lanes}
    if generic:
        function = kernel("depthwise:make_generic", **code)
    else:
        function = kernel("depthwise:make", KH=KH, KW=KW, SH=stride[0], SW=stride[1], WB=WB, **code)
    run(
        function, a, out, add if RES else 0, packed.ctypes.data, Slot(1, C, width, data=bias),
        images, H, W, OH, OW, top, left, *dilation, width, a.pitch, out.pitch, add.pitch,
        H * W * a.pitch, OH * OW * out.pitch, OH * OW * add.pitch, bits(A), bits(B), KH, KW, *stride,
        parts=parts,
    )  # fmt: skip
    geometry = ((OH, OW), stride, (top, left), dilation)
    want = convolved(x, w, bias, *geometry)
    bound = (KH * KW + 1) * EPS * convolved(np.abs(x), np.abs(w), np.abs(bias), *geometry)
    if RES == 1:
        want, bound = want + res, bound + EPS * np.abs(want + res)
    formula, ulps = CASES[act]
    want = formula(want)
    bound = 1.13 * bound + 2 * ulps * EPS * (np.abs(want) + 1e-6)
    if RES == 2:
        want, bound = want + res, bound + EPS * np.abs(want + res)
    assert_within(out.view.reshape(want.shape), want, bound * (1 + 1e-6))
    out.assert_untouched_beyond(width)


SHAPES = {
    "same": {},
    "one column": {"W": 1, "H": 5},
    "whole tiles": {"W": 12, "C": 64},
    "wide": {"H": 4, "W": 30, "C": 16, "images": 2},
    "tall": {"H": 23, "W": 2, "C": 150},
    "slots": {"extra": 20, "images": 2},
    "no padding": {"pads": (0, 0, 0, 0), "W": 15},
    "one sided": {"pads": (0, 1, 2, 0)},
    "padding beyond the filter": {"pads": (4, 5, 4, 6), "H": 3, "W": 3, "C": 5},
    "dilated": {"dilation": (2, 3), "pads": (2, 3, 2, 3), "W": 22},
    "dilated beyond the image": {"dilation": (5, 6), "pads": (5, 6, 5, 6), "H": 4, "W": 5},
}


@lanes
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(lanes, stride, name):
    for parts in (1, 2, 3):
        check(lanes, stride=stride, parts=parts, **SHAPES[name])


@lanes
@pytest.mark.parametrize("name", SHAPES)
def test_generic_shapes(lanes, name):
    for parts in (1, 2, 3):
        check(lanes, generic=True, parts=parts, **SHAPES[name])
    check(lanes, generic=True, stride=(3, 2), kernel_size=(2, 3), **SHAPES[name])


@pytest.mark.parametrize(
    "kernel_size, stride, WB",
    [((5, 5), (1, 1), 7), ((5, 5), (2, 2), 3), ((3, 3), (2, 1), 8), ((1, 7), (1, 2), 5), ((2, 2), (2, 2), 1),
     ((3, 3), (3, 3), 14)],
)  # fmt: skip
def test_kernels(kernel_size, stride, WB):
    pads = ((kernel_size[0] - 1) // 2, (kernel_size[1] - 1) // 2, kernel_size[0] // 2, kernel_size[1] // 2)
    check(16, kernel_size=kernel_size, stride=stride, WB=WB, pads=pads, H=14, W=17)


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("RES", [0, 1, 2])
@pytest.mark.parametrize("act", ["none", "clamp", "silu"])
def test_epilogues(act, RES, in_place, generic):
    if in_place and RES == 0:
        pytest.skip("nothing to add")
    check(8, act=act, RES=RES, in_place=in_place, generic=generic, W=10, images=2, parts=2, extra=4)


def test_few_rows_are_shared_by_channels():
    """One output row and two parts: each must take half of the channels."""
    check(4, H=3, W=6, pads=(0, 1, 0, 1), C=40, parts=2)
    check(4, H=3, W=6, pads=(0, 1, 0, 1), C=4, parts=3)
