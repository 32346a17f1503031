"""Each activation against float64, in ulps of the result."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from activation_formulas import CASES, SCALED, A, B

from nbcnn.kernels.activation_ids import ACTIVATIONS
from nbcnn.kernels.cpu.code.activations import activate
from nbcnn.kernels.cpu.code.simd import vload, vstore

TINY = 2.0**-100


def samples():
    rng = np.random.default_rng(0)
    near = np.linspace(-20, 20, 200_000)
    wide = np.linspace(-120, 120, 50_000)
    scales = rng.standard_normal(50_000) * 10.0 ** rng.uniform(-38, 38, 50_000)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 0.625, -0.625, 3, -3, 15, -15]
    x = np.concatenate([near, wide, scales, special])
    return np.resize(x.astype(np.float32), len(x) // 16 * 16 + 16)


def run(code, lanes, x):
    @numba.njit
    def loop(src, dst, n, a, b):
        for i in range(0, n, lanes):
            vstore(dst + 4 * i, activate(vload(src + 4 * i, lanes), code, a, b))

    got = np.full_like(x, 12345.0)
    loop(x.ctypes.data, got.ctypes.data, len(x), A, B)
    return got


def test_every_activation_is_covered():
    assert set(CASES) == set(ACTIVATIONS)
    assert len(set(ACTIVATIONS.values())) == len(ACTIVATIONS)


@pytest.mark.parametrize("lanes", [16, 8, 4])
@pytest.mark.parametrize("name", CASES)
def test_activation_within_its_bound(name, lanes):
    formula, bound = CASES[name]
    x = samples()
    got = run(ACTIVATIONS[name], lanes, x)
    with np.errstate(all="ignore"):
        want = formula(x.astype(np.float64))
        infinite = want.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want) & (np.abs(want) < 3.4e38)
    np.testing.assert_array_equal(got[~finite & ~np.isnan(x)], infinite[~finite & ~np.isnan(x)])
    x, got, want = x[finite].astype(np.float64), got[finite], want[finite]
    size = np.maximum(np.abs(want), TINY)
    if name == "hard_sigmoid":  # the sum a x + b may cancel
        size = np.where(want == np.clip(want, 1e-9, 1 - 1e-9), np.abs(A * x) + B, size)
    ulp = 2.0 ** (np.floor(np.log2(size)) - 23)
    error = np.abs(got - want) / ulp
    if name in SCALED:  # exp(u) multiplies a relative error of u by u
        error /= 1 + 0.5 * np.abs(np.log(size))
    worst = error.argmax()
    assert error[worst] <= bound, (error[worst], x[worst], got[worst], want[worst])


def test_unknown_code_is_refused():
    with pytest.raises(numba.TypingError, match="no activation has the code 99"):
        run(99, 4, np.zeros(4, np.float32))
