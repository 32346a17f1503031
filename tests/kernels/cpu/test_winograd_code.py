"""Winograd's convolutions against float64: borders, tails, residuals, chunks, lanes, parts.

The bound is the forward error of the algorithm itself: with n roundings on the way of any term, the
result errs by at most n * 2**-24 * |A|^T (sum over channels of |G||g||G|^T . |B|^T|d||B|) |A|
(Barabasz, Anderson, Soodhalter and Gregg, "Error Analysis and Improving the Accuracy of Winograd
Convolution", arXiv:1803.10986).
"""

from __future__ import annotations

import numpy as np
import pytest
from activation_formulas import CASES, A, B
from code_harness import EPS, POISON, Slot, assert_within, bits, kernel, random, run, up
from llvmlite import ir

from nbcnn.ir import Weight
from nbcnn.kernels.activation_ids import ACTIVATIONS
from nbcnn.kernels.base import Store
from nbcnn.kernels.cpu import packing, winograd
from nbcnn.kernels.cpu.code.emit import V
from nbcnn.kernels.cpu.code.winograd_transform import combined
from nbcnn.kernels.cpu.toom_cook import algorithm
from nbcnn.kernels.layouts import empty_aligned

lanes = pytest.mark.parametrize("lanes", [16, 8, 4])
SQUARES = {
    "F(2,3)": algorithm(2, 3),
    "F(4,3)": algorithm(4, 3),
    "F(6,3)": algorithm(6, 3),
    "F(2,3)/2": algorithm(2, 3, 2),
    "F(4,3)/2": algorithm(4, 3, 2),
    "F(2,5)": algorithm(2, 5),
    "F(4,5)": algorithm(4, 5),
}
PAIRS = {name: (kind, kind) for name, kind in SQUARES.items()} | {
    "1x3": (algorithm(1, 1), algorithm(4, 3)),
    "3x1": (algorithm(4, 3), algorithm(1, 1)),
    "1x7": (algorithm(1, 1), algorithm(4, 7)),
    "7x1": (algorithm(4, 7), algorithm(1, 1)),
}
"""Algorithms of the columns and the rows."""
pairs = pytest.mark.parametrize("pair", PAIRS)


def extents(shape, pair, pads):
    """Height and width of the outputs."""
    sizes = [shape[1] + pads[0] + pads[2], shape[2] + pads[1] + pads[3]]
    return tuple((n - kind.taps) // kind.stride + 1 for n, kind in zip(sizes, PAIRS[pair], strict=True))


def convolved(x, filters, pads, pair, absolute=False):
    """The algorithm in float64 on [images, H, W, C]; ``absolute``: of the magnitudes of all its terms."""
    top, left, *_ = pads
    down, across = PAIRS[pair]
    magnitude = np.abs if absolute else np.array
    b, g, a = ([magnitude(np.array(m)) for m in ms] for ms in (
        (down.input, across.input), (down.filter, across.filter), (down.output, across.output)))  # fmt: skip
    height, width = extents(x.shape, pair, pads)
    lines, columns = -(-height // down.outputs), -(-width // across.outputs)
    step, hop = down.outputs * down.stride, across.outputs * across.stride
    rest = ((lines - 1) * step + down.size, (columns - 1) * hop + across.size)
    after = [max(n - m - p, 0) for n, m, p in zip(rest, x.shape[1:], (top, left), strict=False)]
    x = magnitude(np.pad(x.astype(np.float64), ((0, 0), (top, after[0]), (left, after[1]), (0, 0))))
    windows = np.lib.stride_tricks.sliding_window_view(x, (down.size, across.size), axis=(1, 2))
    patches = windows[:, ::step, ::hop][:, :lines, :columns]
    u = g[0] @ magnitude(filters.astype(np.float64)) @ g[1].T
    m = np.einsum("nyxcij,ocij->nyxoij", b[0] @ patches @ b[1].T, u)
    y = (a[0] @ m @ a[1].T).transpose(0, 1, 4, 2, 5, 3)
    return y.reshape(len(x), lines * down.outputs, columns * across.outputs, -1)[:, :height, :width]


def check(
    pair="F(4,3)", lanes=8, act="clamp", RES=0, mr=6, nv=2, *, C=5, K=11, H=6, W=7, pads=(1, 1, 1, 1),
    images=1, capacity=0, parts=1, areas=0, extra=0,
):  # fmt: skip
    rng = np.random.default_rng(1)
    down, across = PAIRS[pair]
    OH, OW = extents((images, H, W), pair, pads)
    x, filters = random(images, H * W, C), random(K, C, down.taps, across.taps, seed=2)
    bias = random(K, seed=3)
    other = rng.standard_normal((images, OH * OW, K)).astype(np.float32)
    width, nr, n_store = up(C, lanes), nv * lanes, up(K, lanes)
    capacity, areas = capacity or mr, areas or parts

    def slot(rows, channels, data=None):  # one more row for each image, which is not its own
        kept = Slot(images * (rows + 1), channels, up(channels, lanes) + extra)
        view = kept.view.reshape(images, rows + 1, channels)[:, :rows]
        if data is not None:
            view[:] = data
        return kept, view

    (a, _), (res, _), (out, got) = slot(H * W, C, x), slot(OH * OW, K, other), slot(OH * OW, K)
    store = Store()
    points, point = down.size * across.size, capacity * width + 16
    product = points * nr + 16
    area = points * point + max(capacity * product, points * width)
    scratch = empty_aligned(((areas + 1) * area,), np.uint32)
    scratch[:] = POISON
    arrays = (
        winograd.pack(Weight.of(filters), False, down, across, nr, store),
        packing.vectors(Weight.of(bias), 1, K, nr, store),
        scratch,
    )
    sizes = {"TILE_Y": down.outputs, "TAPS_Y": down.taps, "STRIDE_Y": down.stride}
    sizes |= {"TILE_X": across.outputs, "TAPS_X": across.taps, "STRIDE_X": across.stride}
    constants = sizes | {"MR": mr, "NV": nv, "LANES": lanes, "ACT": ACTIVATIONS[act], "RES": RES}
    run(
        kernel("winograd:make", UNROLL=4, **constants),
        a, out, res, *(array.ctypes.data for array in arrays), areas, images, H, W, OH, OW, pads[0], pads[1],
        C, width, n_store, capacity, a.pitch, out.pitch, res.pitch,
        (H * W + 1) * a.pitch, (OH * OW + 1) * out.pitch, (OH * OW + 1) * res.pitch, bits(A), bits(B),
        point, product, area,
        parts=parts,
    )  # fmt: skip
    image = x.reshape(images, H, W, C)
    want = convolved(image, filters, pads, pair).reshape(other.shape) + bias
    size = convolved(image, filters, pads, pair, absolute=True).reshape(other.shape) + abs(bias)
    if RES == 1:
        want, size = want + other, size + abs(other)
    # 40: both transforms of the inputs and outputs, U, the bias, the residual.  No activation's slope
    # is above 1.13.
    bound = 1.2 * (C + 40) * EPS * size
    want = CASES[act][0](want)
    if RES == 2:
        want, bound = want + other, bound + 2 * EPS * (abs(other) + abs(want))
    assert_within(got, want, bound + 16 * EPS * abs(want) + 1e-30)
    out.assert_untouched_beyond(n_store)
    np.testing.assert_array_equal(out.view.reshape(images, OH * OW + 1, K)[:, -1].view(np.uint32), POISON)
    np.testing.assert_array_equal(scratch[areas * area :], POISON)
    return got.copy()


@pairs
@lanes
def test_planes(pair, lanes):
    sizes = zip(range(7, 17), (16, 7, 13, 8, 14, 9, 15, 10, 12, 11), strict=True)
    for height, width in list(sizes)[:: 3 if lanes == 8 else 4]:
        check(pair, lanes, H=height, W=width)


@pytest.mark.parametrize("pair", ["F(2,3)", "F(4,3)", "F(6,3)", "F(4,3)/2"])
@pytest.mark.parametrize("size", range(3, 16))
def test_every_remainder(pair, size):
    check(pair, H=size, W=18 - size)


@pairs
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 2, 3), (0, 2, 1, 0), (4, 5, 6, 7)])
def test_padding(pair, pads):
    check(pair, H=8, W=9, pads=pads, images=2)


@pytest.mark.parametrize("pair", ["F(4,3)", "F(4,3)/2"])
@lanes
@pytest.mark.parametrize("C,K", [(1, 1), (16, 16), (17, 33), (7, 64), (40, 9)])
def test_channels(pair, lanes, C, K):
    check(pair, lanes, H=7, W=8, C=C, K=K)


@pairs
@pytest.mark.parametrize("parts", [1, 3])
def test_parts_and_chunks_give_the_same_bits(pair, parts):
    size = {"C": 9, "K": 50, "H": 10, "W": 13, "images": 3}
    alone = check(pair, capacity=60, **size)
    for capacity in (6, 18, 30):
        np.testing.assert_array_equal(check(pair, capacity=capacity, parts=parts, **size), alone)


def test_parts_without_an_area_do_nothing():
    check(K=50, images=2, parts=4, areas=2)


@pytest.mark.parametrize("mr,nv", [(7, 3), (8, 1), (1, 4)])
def test_blocks(mr, nv):
    check(mr=mr, nv=nv, capacity=2 * mr, K=50, images=2)


@pytest.mark.parametrize("act,RES", [("clamp", 1), ("clamp", 2), ("none", 1), ("silu", 0), ("gelu", 2)])
def test_activation_and_residual(act, RES):
    check(act=act, RES=RES, images=2)


@lanes
def test_values_inside_wider_buffers(lanes):
    check("F(2,3)", lanes, H=8, W=7, RES=1, extra=2 * lanes, images=2)


@pytest.mark.parametrize(
    "matrix,operations",
    [
        (algorithm(2, 3).input, 4),
        (algorithm(2, 3).output, 4),
        (algorithm(4, 3).input, 12),
        (algorithm(4, 3).output, 10),
        (algorithm(4, 3, 2).input, 10),
        (algorithm(1, 1).input, 0),
    ],
)
def test_transforms_take_few_operations(matrix, operations):
    """As many as those written by hand: pairs of points share their halves, 1 and -1 multiply nothing."""
    vector = ir.VectorType(ir.FloatType(), 4)
    function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), [vector] * len(matrix[0])), "f")
    builder = ir.IRBuilder(function.append_basic_block())
    combined(matrix, [V(builder, x) for x in function.args])
    assert len(builder.block.instructions) == operations
