"""The SIMD vocabulary: each word against NumPy, at 16, 8 and 4 lanes."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from nbcnn.kernels.cpu.code.simd import (
    arg,
    argf,
    load_f32,
    load_i32,
    prefetch,
    store_f32,
    store_i32,
    vabs,
    vexp,
    vfma,
    vhmax,
    vload,
    vload_first,
    vmax,
    vmax_nan,
    vmin,
    vselect,
    vset,
    vstore,
    vstore_first,
    vsum,
    vzero,
)

LANE_COUNTS = (16, 8, 4)
lanes = pytest.mark.parametrize("lanes", LANE_COUNTS)


def apply(body, lanes, *inputs):
    """Run ``body(args)`` on float32 arrays; the result array is the last slot, NaN before."""
    out = np.full(lanes, np.nan, np.float32)
    block = np.array([a.ctypes.data for a in (*inputs, out)], np.int64)
    numba.njit(body)(block.ctypes.data)
    return out


def data(lanes, seed=0):
    return np.random.default_rng(seed).standard_normal(lanes).astype(np.float32)


@lanes
def test_arithmetic_follows_float32(lanes):
    def body(args):
        a, b = vload(arg(args, 0), lanes), vload(arg(args, 1), lanes)
        r = (a + b) * (a - b) / (b * b + 1.0) - (-a)
        r += 2
        r *= a
        vstore(arg(args, 2), 3.0 - r)

    a, b = data(lanes), data(lanes, 1)
    one = np.float32(1)
    want = 3 - (((a + b) * (a - b)) / (b * b + one) + a + np.float32(2)) * a
    np.testing.assert_array_equal(apply(body, lanes, a, b), want)


@lanes
def test_fma_is_within_one_rounding_of_exact(lanes):
    def body(args):
        a, b = vload(arg(args, 0), lanes), vload(arg(args, 1), lanes)
        vstore(arg(args, 2), vfma(a, b, vset(0.5, lanes)))

    a, b = data(lanes), data(lanes, 1)
    exact = a.astype(np.float64) * b + 0.5
    bound = 2.0**-23 * (np.abs(a * b) + np.abs(exact))
    assert np.all(np.abs(apply(body, lanes, a, b) - exact) <= bound)


@lanes
def test_max_and_min_keep_nan_of_the_data(lanes):
    def body(args):
        a = vload(arg(args, 0), lanes)
        low, high = vset(-0.25, lanes), vset(0.25, lanes)
        vstore(arg(args, 1), vmin(vmax(a, low), high))

    a = data(lanes)
    a[1], a[2], a[3] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(apply(body, lanes, a), np.clip(a, -0.25, 0.25))


@lanes
def test_max_nan_keeps_nan_of_either(lanes):
    def body(args):
        a, b = vload(arg(args, 0), lanes), vload(arg(args, 1), lanes)
        vstore(arg(args, 2), vmax_nan(a, b))

    a, b = data(lanes), data(lanes, 1)
    a[0], b[1], a[2], b[2] = np.nan, np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(apply(body, lanes, a, b), np.maximum(a, b))


@lanes
def test_compare_select_abs(lanes):
    def body(args):
        a, b = vload(arg(args, 0), lanes), vload(arg(args, 1), lanes)
        mask = ((a < b) & (a > -1)) | (a == 0.0) | (a != a)
        vstore(arg(args, 2), vselect(mask, vabs(a), vzero(lanes)))

    a, b = data(lanes), data(lanes, 1)
    a[0], a[1] = -0.0, np.nan
    want = np.where(((a < b) & (a > -1)) | (a == 0) | (a != a), np.abs(a), np.float32(0))
    np.testing.assert_array_equal(apply(body, lanes, a, b), want)


@lanes
def test_partial_loads_and_stores_touch_only_their_lanes(lanes):
    @numba.njit
    def copy(src, dst, n):
        vstore_first(dst, vload_first(src, n, lanes), n)

    @numba.njit
    def spread(src, dst, n):
        vstore(dst, vload_first(src, n, lanes))

    src = data(lanes)
    for n in (-3, 0, 1, lanes // 2, lanes - 1, lanes, lanes + 5, 2**40):
        kept = max(0, min(n, lanes))
        dst = np.full(lanes + 2, np.nan, np.float32)
        copy(src.ctypes.data, dst[1:].ctypes.data, n)
        np.testing.assert_array_equal(dst[1 : 1 + kept], src[:kept])
        assert np.isnan(dst[0])
        assert np.isnan(dst[1 + kept :]).all()
        spread(src.ctypes.data, dst.ctypes.data, n)
        np.testing.assert_array_equal(dst[:kept], src[:kept])
        np.testing.assert_array_equal(dst[kept:lanes], 0)


@lanes
def test_sum_and_max_over_lanes(lanes):
    def body(args):
        a = vload(arg(args, 0), lanes)
        store_f32(arg(args, 1), vsum(a))
        store_f32(arg(args, 1) + 4, vhmax(a))

    a = data(lanes)
    got = apply(body, lanes, a)
    assert abs(got[0] - a.sum(dtype=np.float64)) <= lanes * 2.0**-24 * np.abs(a).sum()
    assert got[1] == a.max()
    for place in range(lanes):
        b = a.copy()
        b[place] = np.nan
        assert np.isnan(apply(body, lanes, b)[1])


def test_scalars_and_float_arguments():
    @numba.njit
    def body(args):
        prefetch(arg(args, 0))
        store_f32(arg(args, 1), load_f32(arg(args, 0)) + argf(args, 2))
        store_i32(arg(args, 1) + 4, load_i32(arg(args, 0) + 4) - 1)

    src = np.array([1.25, 0], np.float32)
    src.view(np.int32)[1] = -7
    out = np.zeros(2, np.float32)
    block = np.array([src.ctypes.data, out.ctypes.data, 0], np.int64)
    # The high half of a float slot may hold anything.
    block[2] = (0x7EADBEEF << 32) | int(np.float32(0.5).view(np.uint32))
    body(block.ctypes.data)
    assert out[0] == 1.75
    assert out.view(np.int32)[1] == -8


def test_lanes_must_be_literal():
    def body(addr, n):
        vstore(addr, vload(addr, n))

    with pytest.raises(numba.TypingError, match="LANES must be an int literal"):
        numba.njit(body)(0, 16)


@lanes
def test_exp_within_bound_over_the_whole_range(lanes):
    @numba.njit
    def run(src, dst, n):
        for i in range(0, n, lanes):
            vstore(dst + 4 * i, vexp(vload(src + 4 * i, lanes)))

    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 88.72, 88.73, 1e30, -1e30, -87.4, -103.9]
    x = np.concatenate([np.linspace(-110, 95, 200_000), np.linspace(-1, 1, 100_000), special])
    x = np.resize(x.astype(np.float32), len(x) // 16 * 16 + 16)
    got = np.full_like(x, np.nan)
    run(x.ctypes.data, got.ctypes.data, len(x))
    with np.errstate(over="ignore", under="ignore"):
        want = np.exp(x.astype(np.float64))
        nearest = want.astype(np.float32)
    finite = np.isfinite(nearest) & (want < 3.3e38)
    np.testing.assert_array_equal(got[~finite & (want > 3.5e38)], np.inf)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))
    ulp = np.spacing(nearest[finite]).astype(np.float64)
    error = np.abs(got[finite] - want[finite]) / ulp
    assert error.max() <= 1.5, (error.max(), x[finite][error.argmax()])
