"""Elementwise kernels against float64: shapes, broadcasts, pitches, parts, in-place use."""

from __future__ import annotations

import numpy as np
import pytest
from activation_formulas import CASES, SCALED, A, B
from code_harness import EPS, Slot, assert_within, bits, kernel, random, run, up

from nbcnn.kernels.activation_ids import ACTIVATIONS, BINARIES

lanes = pytest.mark.parametrize("lanes", [16, 8, 4])


def activated(name, x):
    """The activation of exact ``x``, and how far float32 may be off beyond the error of x."""
    formula, ulps = CASES[name]
    with np.errstate(all="ignore"):
        y = formula(x)
    if name in SCALED:  # as documented: exp(u) multiplies a relative error of u by u
        ulps = ulps * (1 + 0.5 * np.abs(np.log(np.maximum(np.abs(y), 1e-30))))
    size = np.abs(y) + (np.abs(x) if name in ("hard_sigmoid", "hard_swish", "shrink") else 0)
    return y, (2 * ulps + 1) * EPS * (size + 1e-6)


FUNCTIONS = {
    "add": np.add,
    "mul": np.multiply,
    "sub": np.subtract,
    "div": np.divide,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "prelu": lambda x, y: np.where(x < 0, x * y, x),
}


def binary(name, lanes, A=1, B=1, ACT="clamp", RES=0):
    op, act = BINARIES[name], ACTIVATIONS[ACT]
    return kernel("elementwise:make_binary", OP=op, ACT=act, RES=RES, A=A, B=B, LANES=lanes)


def test_every_operator_is_covered():
    assert set(FUNCTIONS) == set(BINARIES)


@lanes
@pytest.mark.parametrize("name", FUNCTIONS)
def test_binary_operators(name, lanes):
    x = np.concatenate([random(40), [np.nan, 1, 0, np.inf, -0.0, 3]]).astype(np.float32)
    y = np.concatenate([random(40, seed=1), [1, np.nan, 2, 1, 1, -np.inf]]).astype(np.float32)
    a, b, out = Slot(1, 46, data=x), Slot(1, 46, data=y), Slot(1, 46)
    run(binary(name, lanes, ACT="none"), a, b, out, 46, *[1] * 4, *[0] * 12, 0, 0, *[0] * 5, parts=2)
    np.testing.assert_array_equal(out.view[0], FUNCTIONS[name](x, y))


@lanes
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "extents, width, a_axes, b_axes",
    [
        ((1, 1, 1, 1), 300, "r", "r"),
        ((1, 1, 1, 9), 37, "3r", "3r"),
        ((1, 1, 3, 4), 37, "23r", "2r"),  # squeeze and excitation
        ((1, 1, 3, 4), 16, "23r", "r"),  # a constant per channel
        ((1, 1, 3, 4), 5, "23r", ""),  # a number
        ((1, 1, 3, 4), 21, "23", "2r"),  # both repeat
        ((2, 3, 4, 5), 33, "013r", "12r"),
        ((2, 1, 3, 2), 1, "02r", "3"),
        ((1, 1, 0, 4), 8, "23r", "2r"),
    ],
)
def test_binary_walks(extents, width, a_axes, b_axes, lanes, parts):
    """An operand has the axes that are named, ``r`` is the row; it repeats along the others."""

    def operand(axes, seed):
        shape = [n if str(i) in axes else 1 for i, n in enumerate(extents)] + [width if "r" in axes else 1]
        array = random(*shape, seed=seed)
        steps = [s // 4 * (str(i) in axes) for i, s in enumerate(array.strides[:4])]
        return array, steps

    (x, a_steps), (y, b_steps) = operand(a_axes, 1), operand(b_axes, 2)
    a, b = (Slot(1, v.size, data=v.reshape(1, -1)) for v in (x, y))
    rows = int(np.prod(extents))
    out = Slot(rows, width, width + 3)
    out_steps = [int(np.prod(extents[i + 1 :])) * out.pitch for i in range(4)]
    function = binary("sub", lanes, int("r" in a_axes), int("r" in b_axes))
    steps = (*a_steps, *b_steps, *out_steps)
    run(function, a, b, out, width, *extents, *steps, bits(A), bits(B), *[0] * 5, parts=parts)
    np.testing.assert_array_equal(out.view, np.clip(x - y, A, B).reshape(rows, width))
    out.assert_untouched_beyond(width)


@lanes
@pytest.mark.parametrize("which", ["a", "b"])
def test_binary_in_place(lanes, which):
    a = Slot(6, 20, up(20, lanes), data=random(6, 20))
    b = Slot(6, 20, up(20, lanes), data=random(6, 20, seed=1))
    want = a.view + b.view
    out = a if which == "a" else b
    steps = (0, 0, 0, a.pitch) * 3
    run(binary("add", lanes, ACT="none"), a, b, out, 20, 1, 1, 1, 6, *steps, 0, 0, *[0] * 5, parts=2)
    np.testing.assert_array_equal(out.view, want)


@lanes
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("RES", [1, 2])
@pytest.mark.parametrize("images, pixels, width", [(2, 5, 37), (1, 3, 16), (3, 1, 5)])
@pytest.mark.parametrize("in_place", [False, True])
def test_binary_adds_a_third_value(images, pixels, width, RES, parts, lanes, in_place):
    """Squeeze and excitation with a shortcut: x * gate + r, r before or after the activation."""
    rows = images * pixels
    a = Slot(rows, width, width + 2, data=random(rows, width))
    gate = Slot(images, width, width + 1, data=random(images, width, seed=1))
    res = Slot(rows, width, width + 7, data=random(rows, width, seed=2))
    out = res if in_place else Slot(rows, width, width + 3)
    product = a.view * np.repeat(gate.view, pixels, axis=0)
    want = np.clip(product + res.view, A, B) if RES == 1 else np.clip(product, A, B) + res.view
    steps = [n for s in (a, gate, out, res) for n in (0, 0, pixels * s.pitch, s.pitch)]
    steps[4:8] = 0, 0, gate.pitch, 0
    run(
        binary("mul", lanes, RES=RES), a, gate, out, width, 1, 1, images, pixels, *steps[:12],
        bits(A), bits(B), res, *steps[12:], parts=parts,
    )  # fmt: skip
    np.testing.assert_array_equal(out.view, want)
    out.assert_untouched_beyond(width)


@pytest.mark.parametrize("name", CASES)
def test_unary_activations(name):
    x = 4 * random(9, 21)
    a = Slot(9, 21, 24, data=np.abs(x) if name in ("log", "sqrt") else x)
    out = Slot(9, 21, 32, start=1)
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
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("rows, extra", [(1, 0), (5, 0), (5, 3)])
def test_unary_reads_and_writes_no_float_past_its_rows(lanes, parts, rows, extra):
    a, out = Slot(rows, 35, 35 + extra, data=random(rows, 35)), Slot(rows, 35, 35 + extra)
    function = kernel("elementwise:make_unary", ACT=ACTIVATIONS["exp"], LANES=lanes)
    run(function, a, out, rows, 35, a.pitch, out.pitch, 0, 0, parts=parts)
    want = np.exp(a.view.astype(np.float64))
    assert_within(out.view, want, 4 * EPS * want)
    out.assert_untouched_beyond(35)


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
