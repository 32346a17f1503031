"""Elementwise kernels against float64: shapes, broadcasts, pitches, parts, in-place use."""

from __future__ import annotations

import numpy as np
import pytest
from activation_formulas import CASES, A, B
from code_harness import EPS, Slot, assert_within, bits, kernel, random, run, up

from nbcnn.kernels.cpu.activation_ids import ACTIVATIONS

lanes = pytest.mark.parametrize("lanes", [16, 8, 4])
ONE_TO_ONE, ONE_ROW = 1, 1 << 40


def activated(name, x):
    """The activation of exact ``x``, and how far float32 may be off beyond the error of x.

    Every activation here but elu has a slope below 1.13 (gelu's and silu's maximum).
    """
    formula, ulps = CASES[name]
    with np.errstate(over="ignore"):
        y = formula(x)
    if name == "gelu_tanh":  # as documented: exp(u) multiplies a relative error of u by u
        ulps = ulps * (1 + 0.5 * np.abs(np.log(np.maximum(np.abs(y), 1e-30))))
    size = np.abs(y) + (np.abs(x) if name in ("hard_sigmoid", "hard_swish") else 0)
    return y, (2 * ulps + 1) * EPS * (size + 1e-6)


@lanes
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("OP", [0, 1])
@pytest.mark.parametrize(
    "rows, channels, extra, b_div",
    [
        (7, 16, 0, ONE_TO_ONE),  # without gaps: one long row
        (5, 19, 0, ONE_TO_ONE),
        (5, 19, 24, ONE_TO_ONE),
        (12, 37, 4, 4),
        (9, 21, 0, ONE_ROW),
        (1, 1, 3, ONE_TO_ONE),
        (0, 8, 0, ONE_TO_ONE),
    ],
)
def test_binary(OP, lanes, rows, channels, extra, b_div, parts):
    width = up(channels, lanes)
    b_rows = max(1, -(-rows // b_div))
    a = Slot(rows, channels, width + extra, data=random(rows, channels))
    b = Slot(b_rows, channels, width + extra, start=5, data=random(b_rows, channels, seed=1))
    out = Slot(rows, channels, width + extra, start=3)
    function = kernel("elementwise:make_binary", OP=OP, ACT=ACTIVATIONS["clamp"], LANES=lanes)
    sizes = (rows, width, a.pitch, b.pitch, out.pitch, b_div)
    run(function, a, b, out, *sizes, bits(A), bits(B), parts=parts)
    x, y = a.view, b.view[np.arange(rows) // b_div]
    np.testing.assert_array_equal(out.view, np.clip(x * y if OP else x + y, A, B))
    out.assert_untouched_beyond(width)


@lanes
@pytest.mark.parametrize("which", ["a", "b"])
def test_binary_in_place(lanes, which):
    a = Slot(6, 20, up(20, lanes), data=random(6, 20))
    b = Slot(6, 20, up(20, lanes), data=random(6, 20, seed=1))
    want = a.view + b.view
    out = a if which == "a" else b
    function = kernel("elementwise:make_binary", OP=0, ACT=0, LANES=lanes)
    run(function, a, b, out, 6, up(20, lanes), a.pitch, b.pitch, out.pitch, 1, 0, 0, parts=2)
    np.testing.assert_array_equal(out.view, want)


@pytest.mark.parametrize("name", CASES)
def test_unary_activations(name):
    a, out = Slot(9, 21, 24, data=4 * random(9, 21)), Slot(9, 21, 32, start=1)
    function = kernel("elementwise:make_unary", ACT=ACTIVATIONS[name], LANES=8)
    run(function, a, out, 9, 24, a.pitch, out.pitch, bits(A), bits(B), parts=3)
    want, bound = activated(name, a.view.astype(np.float64))
    assert_within(out.view, want, bound)
    out.assert_untouched_beyond(24)


@lanes
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("extra", [0, 7])
def test_unary_shares(lanes, parts, extra):
    width = up(35, lanes)
    a, out = Slot(5, 35, width, data=random(5, 35)), Slot(5, 35, width + extra)
    function = kernel("elementwise:make_unary", ACT=ACTIVATIONS["clamp"], LANES=lanes)
    run(function, a, out, 5, width, a.pitch, out.pitch, bits(A), bits(B), parts=parts)
    np.testing.assert_array_equal(out.view, np.clip(a.view, A, B))
    out.assert_untouched_beyond(width)


@lanes
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("extra", [0, 5])
def test_affine(lanes, parts, extra):
    width = up(27, lanes)
    a, out = Slot(11, 27, width + extra, data=random(11, 27)), Slot(11, 27, width + extra)
    scale = Slot(1, 27, width, data=random(27, seed=1))
    shift = Slot(1, 27, width, data=random(27, seed=2))
    function = kernel("elementwise:make_affine", ACT=ACTIVATIONS["silu"], LANES=lanes)
    sizes = (11, width, a.pitch, out.pitch)
    run(function, a, out, *sizes, scale, shift, bits(A), bits(B), parts=parts)
    product = a.view.astype(np.float64) * scale.view
    x = product + shift.view
    want, bound = activated("silu", x)
    # Two roundings at most, whether or not the product is fused; silu's slope is below 1.1.
    assert_within(out.view, want, bound + 1.1 * EPS * (np.abs(product) + np.abs(x)))
    out.assert_untouched_beyond(width)
