"""The indirect GEMM against float64: tails, groups, residuals, activations, lanes and parts.

In any order, a float32 sum of n products is within n * 2**-24 * sum |a||b| of the exact one (to
first order; Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1); the activation
and the residual add a few ulps of their own.
"""

from __future__ import annotations

import ctypes
import functools

import numba
import numpy as np
import pytest
from activation_formulas import CASES, A, B

from nbcnn.kernels.activation_ids import ACTIVATIONS
from nbcnn.kernels.cpu.code import igemm


@functools.cache
def compiled(*constants):
    return numba.cfunc("void(intp,intp,intp)", nopython=True)(igemm.make(*constants))


def call(kernel, args, part, parts):
    word = ctypes.c_ssize_t
    ctypes.CFUNCTYPE(None, word, word, word)(kernel.address)(args.ctypes.data, part, parts)


def bits(x):
    return int(np.float32(x).view(np.uint32))


def aligned(shape):
    size = int(np.prod(shape)) * 4
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(np.float32).reshape(shape)


def table(MR, height, width, pitch, kernel, stride, pad):
    """Offsets of a square convolution, one block of MR rows after the other."""
    out_h, out_w = ((n + 2 * pad - kernel) // stride + 1 for n in (height, width))
    pixels = out_h * out_w
    p = np.minimum(np.arange(-(-pixels // MR) * MR), pixels - 1).reshape(-1, 1, MR)
    t = np.arange(kernel * kernel).reshape(1, -1, 1)
    y = p // out_w * stride - pad + t // kernel
    x = p % out_w * stride - pad + t % kernel
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return np.where(inside, (y * width + x) * pitch, igemm.NO_ROW).astype(np.int32), pixels


def check(
    MR=6, NV=2, LANES=8, act="clamp", RES=0, UNROLL=4, *, channels=8, n=16, kernel=3, stride=1,
    pad=1, height=5, width=7, images=1, groups=1, parts=1, order=0, dense_rows=False, seed=0, share=1,
):  # fmt: skip
    rng = np.random.default_rng(seed)
    NR, taps = NV * LANES, kernel * kernel
    panels = -(-n * share // NR)
    pitch = channels * groups
    offsets, pixels = table(MR, height, width, pitch, kernel, stride, pad)
    image = height * width * pitch
    x = np.full(images * image + MR * pitch, np.nan, np.float32)  # slack that must not matter
    x[: images * image] = rng.standard_normal(images * image)
    weights = rng.standard_normal((groups, taps * channels, n)).astype(np.float32)
    bias = rng.standard_normal((groups, n)).astype(np.float32)
    shared, wide = groups // share, n * share  # groups of the argument block, and their filters
    packed = aligned((shared, panels, taps * channels, NR))
    padded = np.zeros((shared, taps * channels, panels * NR), np.float32)
    padded[:, :, :wide] = weights.reshape(shared, share, -1, n).swapaxes(1, 2).reshape(shared, -1, wide)
    packed[:] = padded.reshape(shared, taps * channels, panels, NR).transpose(0, 2, 1, 3)
    packed_bias = aligned((shared, panels * NR))
    packed_bias[:, :wide] = bias.reshape(shared, wide)
    zeros = np.zeros(channels * share, np.float32)
    out_pitch, res_pitch = groups * n + 3, groups * n + 1
    out = np.full((images, pixels, out_pitch), np.nan, np.float32)
    res = rng.standard_normal((images, pixels, res_pitch)).astype(np.float32)
    a_step, table_step = 0, taps * MR
    if dense_rows:  # one block of offsets for all rows
        offsets = (np.arange(MR) * pitch).astype(np.int32)
        a_step, table_step = MR * pitch, 0
    args = np.array(
        [x.ctypes.data, offsets.ctypes.data, zeros.ctypes.data, packed.ctypes.data,
         packed_bias.ctypes.data, out.ctypes.data, res.ctypes.data, channels, taps, pixels,
         images, image, pixels * out_pitch, out_pitch, pixels * res_pitch, res_pitch, wide, shared,
         channels * share, wide, a_step, table_step, bits(A), bits(B), order],
        np.int64,
    )  # fmt: skip
    fn = compiled(MR, NV, LANES, ACTIVATIONS[act], RES, UNROLL, share)
    for part in reversed(range(parts)):
        call(fn, args, part, parts)

    full, pixels = table(1, height, width, pitch, kernel, stride, pad)
    full = full.reshape(pixels, taps)
    for g in range(groups):
        columns = slice(g * n, (g + 1) * n)
        for b in range(images):
            source = x[b * image : (b + 1) * image].astype(np.float64)
            index = np.maximum(full, 0)[:, :, None] + np.arange(channels) + g * channels
            rows = np.where(full[:, :, None] == igemm.NO_ROW, 0.0, source[index])
            rows = rows.reshape(pixels, -1)
            want = rows @ weights[g].astype(np.float64) + bias[g]
            size = np.abs(rows) @ np.abs(weights[g]) + np.abs(bias[g])
            other = res[b, :, columns].astype(np.float64)
            if RES == 1:
                want, size = want + other, size + np.abs(other)
            # Every activation's slope is at most 1.13 (silu, gelu, hard_swish) in absolute value.
            bound = 1.2 * (taps * channels + 2) * 2.0**-24 * size
            want = CASES[act][0](want)
            if RES == 2:
                want, bound = want + other, bound + 2.0**-23 * (np.abs(other) + np.abs(want))
            bound += 8 * 2.0**-23 * np.abs(want) + 1e-30
            error = np.abs(out[b, :, columns] - want)
            assert np.all(error <= bound), (np.nanmax(error / bound), np.isnan(error).sum())
    assert np.isnan(out[:, :, groups * n :]).all(), "stored past the channels"


lanes = pytest.mark.parametrize("LANES", [16, 8, 4])


@lanes
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_padding_row_tail_and_channel_tail(LANES, order, parts):
    check(LANES=LANES, order=order, parts=parts, n=2 * LANES * 2 + LANES + 3, images=2)


@lanes
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 21, 27])
def test_any_reduction_length(LANES, channels):
    check(LANES=LANES, channels=channels, n=2 * LANES)


@pytest.mark.parametrize("unroll", [1, 2, 3, 7])
def test_any_unroll(unroll):
    check(UNROLL=unroll, channels=21, n=16)


@lanes
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("parts", [1, 2, 3, 50])
def test_groups(LANES, order, parts):
    check(LANES=LANES, groups=3, channels=5, n=LANES + 1, order=order, parts=parts, images=2)


@lanes
@pytest.mark.parametrize("width", [2, 4, 8])
def test_groups_share_vectors(LANES, width):
    if share := LANES // width // 2 * 2:
        few = {"channels": width, "n": width, "UNROLL": width, "share": share}
        check(MR=7, NV=1, LANES=LANES, groups=3 * share, images=2, parts=3, **few)
        check(MR=2, NV=1, LANES=LANES, groups=share, stride=2, **few)


@pytest.mark.parametrize("stride,pad,kernel", [(2, 1, 3), (1, 0, 1), (2, 0, 1), (2, 3, 7)])
def test_geometry(stride, pad, kernel):
    check(stride=stride, pad=pad, kernel=kernel, height=9, width=11)


@pytest.mark.parametrize("parts", [1, 3])
def test_one_table_block_and_unreadable_slack_rows(parts):
    check(kernel=1, pad=0, dense_rows=True, n=33, parts=parts)


@lanes
@pytest.mark.parametrize("channels", [1, 6, 40])
def test_single_row_splits_the_sum(LANES, channels):
    image = {"kernel": 1, "pad": 0, "height": 1, "width": 1}
    check(1, 4, LANES, channels=channels, n=9 * LANES + 2, parts=2, **image)


def test_fewer_rows_than_a_block():
    check(MR=14, kernel=1, pad=0, height=3, width=3, images=3, n=40)


STEEP = {"reciprocal", "sqrt", "exp", "log"}
"""No bound on their slope, or not defined everywhere: test_activation_code.py holds them alone."""


@pytest.mark.parametrize("RES", [0, 1, 2])
@pytest.mark.parametrize("act", [a for a in ACTIVATIONS if a not in STEEP])
def test_activation_and_residual(act, RES):
    check(MR=4, LANES=16, NV=1, act=act, RES=RES, UNROLL=1, n=19, channels=4)


@lanes
@pytest.mark.parametrize("RES", [1, 2])
def test_residual_lanes(LANES, RES):
    check(LANES=LANES, RES=RES, n=3 * LANES + 1, groups=2)


def test_nan_in_the_input_reaches_its_outputs_only():
    x = np.ones((2, 4), np.float32)
    x[1, 2] = np.nan
    w, bias, out = aligned((4, 16)), aligned(16), np.zeros((2, 16), np.float32)
    offsets = np.array([0, 4], np.int32)
    args = np.zeros(25, np.int64)
    args[:6] = [v.ctypes.data for v in (x, offsets, bias, w, bias, out)]
    args[[7, 8, 9, 10, 13, 16, 17]] = [4, 1, 2, 1, 16, 16, 1]
    args[23] = bits(np.inf)
    call(compiled(2, 1, 16, ACTIVATIONS["clamp"], 0, 4), args, 0, 1)
    np.testing.assert_array_equal(out[0], 0)
    assert np.isnan(out[1]).all()
