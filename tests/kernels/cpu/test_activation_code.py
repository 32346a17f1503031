"""Each activation against float64, in ulps of the result."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from activation_formulas import CASES, A, B, check

from nbcnn.kernels.activation_ids import ACTIVATIONS
from nbcnn.kernels.cpu.code.activations import activate
from nbcnn.kernels.cpu.code.simd import vload, vstore


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
    x = samples()
    check(name, x, run(ACTIVATIONS[name], lanes, x))


def test_unknown_code_is_refused():
    with pytest.raises(numba.TypingError, match="no activation has the code 99"):
        run(99, 4, np.zeros(4, np.float32))
