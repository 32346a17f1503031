"""Winograd's convolution against float64: borders, tails, residuals, chunks, lanes, parts.

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

from nbcnn.ir import Weight
from nbcnn.kernels.base import Store, empty_aligned
from nbcnn.kernels.cpu import packing, winograd
from nbcnn.kernels.cpu.activation_ids import ACTIVATIONS
from nbcnn.kernels.cpu.code import winograd as code

INPUT = {  # B^T
    2: np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]),
    4: np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ]
    ),
}
OUTPUT = {  # A^T
    2: np.array([[1, 1, 1, 0], [0, 1, -1, 1]]),
    4: np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]),
}
lanes = pytest.mark.parametrize("lanes", [16, 8, 4])
tiles = pytest.mark.parametrize("tile", [2, 4])


def convolved(x, filters, pads, tile, absolute=False):
    """Winograd in float64 on [images, H, W, C]; ``absolute``: of the magnitudes of all its terms."""
    top, left, bottom, right = pads
    matrices = (INPUT[tile], winograd.G[tile], OUTPUT[tile], x.astype(np.float64), filters.astype(np.float64))
    b, g, a, x, filters = map(np.abs, matrices) if absolute else matrices
    height, width = x.shape[1] + top + bottom - 2, x.shape[2] + left + right - 2
    down, across = -(-height // tile), -(-width // tile)
    after = ((bottom + down * tile - height), (right + across * tile - width))
    x = np.pad(x, ((0, 0), (top, after[0]), (left, after[1]), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(x, (tile + 2, tile + 2), axis=(1, 2))[
        :, ::tile, ::tile
    ]
    m = np.einsum("nyxcij,ocij->nyxoij", b @ patches @ b.T, g @ filters @ g.T)
    y = (a @ m @ a.T).transpose(0, 1, 4, 2, 5, 3)
    return y.reshape(len(x), down * tile, across * tile, -1)[:, :height, :width]


def check(
    tile=4, lanes=8, act="clamp", RES=0, mr=6, nv=2, *, C=5, K=11, H=6, W=7, pads=(1, 1, 1, 1), images=1,
    capacity=0, parts=1, areas=0, extra=0,
):  # fmt: skip
    rng = np.random.default_rng(1)
    OH, OW = H + pads[0] + pads[2] - 2, W + pads[1] + pads[3] - 2
    x, filters, bias = random(images, H * W, C), random(K, C, 3, 3, seed=2), random(K, seed=3)
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
    points, line = (tile + 2) ** 2, code.LINE
    area = points * (capacity * width + line + max(capacity * nr, width))
    scratch = empty_aligned(((areas + 1) * area,), np.uint32)
    scratch[:] = POISON
    arrays = (
        winograd.pack(Weight.of(filters), False, tile, nr, store),
        packing.vectors(Weight.of(bias), 1, K, nr, store),
        packing.linear_table(mr, width, (0,), store),
        packing.zeros(nr, store),
        scratch,
    )
    constants = {"TILE": tile, "MR": mr, "NV": nv, "LANES": lanes, "ACT": ACTIVATIONS[act], "RES": RES}
    run(
        kernel("winograd:make", UNROLL=4, **constants),
        a, out, res, *(array.ctypes.data for array in arrays), areas, images, H, W, OH, OW, pads[0], pads[1],
        C, width, n_store, capacity, a.pitch, out.pitch, res.pitch,
        (H * W + 1) * a.pitch, (OH * OW + 1) * out.pitch, (OH * OW + 1) * res.pitch, bits(A), bits(B),
        parts=parts,
    )  # fmt: skip
    image = x.reshape(images, H, W, C)
    want = convolved(image, filters, pads, tile).reshape(other.shape) + bias
    size = convolved(image, filters, pads, tile, absolute=True).reshape(other.shape) + abs(bias)
    if RES == 1:
        want, size = want + other, size + abs(other)
    # 24: both transforms of the inputs and outputs, U, the bias, the residual.  No activation's slope
    # is above 1.13.
    bound = 1.2 * (C + 24) * EPS * size
    want = CASES[act][0](want)
    if RES == 2:
        want, bound = want + other, bound + 2 * EPS * (abs(other) + abs(want))
    assert_within(got, want, bound + 16 * EPS * abs(want) + 1e-30)
    out.assert_untouched_beyond(n_store)
    np.testing.assert_array_equal(out.view.reshape(images, OH * OW + 1, K)[:, -1].view(np.uint32), POISON)
    np.testing.assert_array_equal(scratch[areas * area :], POISON)
    return got.copy()


@tiles
def test_the_matrices_of_this_file_convolve(tile):
    x, filters = random(1, 7, 6, 3), random(4, 3, 3, 3)
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    want = np.einsum("nyxcij,ocij->nyxo", windows, filters)
    np.testing.assert_allclose(convolved(x, filters, (1, 1, 1, 1), tile), want, atol=1e-12)


@tiles
@lanes
@pytest.mark.parametrize("size", range(3, 16))
def test_planes(tile, lanes, size):
    check(tile, lanes, H=size, W=18 - size)


@tiles
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 2, 3), (0, 2, 1, 0), (4, 5, 6, 7)])
def test_padding(tile, pads):
    check(tile, pads=pads, images=2)


@tiles
@lanes
@pytest.mark.parametrize("C,K", [(1, 1), (16, 16), (17, 33), (7, 64), (40, 9)])
def test_channels(tile, lanes, C, K):
    check(tile, lanes, C=C, K=K)


@tiles
@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_parts_and_chunks_give_the_same_bits(tile, parts):
    size = {"C": 9, "K": 50, "H": 10, "W": 13, "images": 3}
    alone = check(tile, capacity=60, **size)
    for capacity in (6, 18, 30):
        np.testing.assert_array_equal(check(tile, capacity=capacity, parts=parts, **size), alone)


def test_parts_without_an_area_do_nothing():
    check(K=50, images=2, parts=4, areas=2)


@pytest.mark.parametrize("mr,nv", [(7, 3), (8, 1), (1, 4)])
def test_blocks(mr, nv):
    check(mr=mr, nv=nv, capacity=2 * mr, K=50, images=2)


@pytest.mark.parametrize("act,RES", [("clamp", 1), ("clamp", 2), ("none", 1), ("silu", 0), ("gelu", 2)])
def test_activation_and_residual(act, RES):
    check(act=act, RES=RES, images=2)


@tiles
@lanes
def test_values_inside_wider_buffers(tile, lanes):
    check(tile, lanes, RES=1, extra=2 * lanes, images=2)


def test_the_sizes_of_the_record_are_those_of_the_code():
    assert winograd.SET_PAD == code.LINE
