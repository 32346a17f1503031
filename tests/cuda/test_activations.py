"""Each activation of the plain kernels against float64, in ulps of the result."""

from __future__ import annotations

import launch_plain
import numpy as np
import pytest
from activation_formulas import CASES, A, B, check
from launch_plain import target

from nbcnn.kernels.activation_ids import ACTIVATIONS
from nbcnn.kernels.cuda.base import numbers, simt
from nbcnn.kernels.cuda.elementwise import Rows
from nbcnn.kernels.cuda.simt.activations import activation
from nbcnn.runtime.cuda.launcher import simulated

LIBDEVICE = 0 if simulated() else 1
"""Ulps that exponentials and logarithms of a GPU may be off beside those of a CPU."""

SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    3e38,
    -3e38,
    0.5,
    -0.5,
    2.5,
    3,
    -3,
    15,
    -15,
    1e-40,
    2.0**23 + 1,
]


def samples():
    rng = np.random.default_rng(0)
    near, wide = rng.uniform(-20, 20, 400), rng.uniform(-120, 120, 200)
    scales = rng.standard_normal(200) * 10.0 ** rng.uniform(-38, 38, 200)
    return np.concatenate([near, wide, scales, SPECIAL]).astype(np.float32)


def run(name, x):
    rows = Rows(1, x.size, x.size)
    given = (*Rows.PARAMS, *numbers("x_pitch out_pitch"), ("a", "f32"), ("b", "f32"))
    params = (("x", "f32[]"), ("out", "f32[]"), *given)
    kernel = simt("elementwise", "make_unary", f"f32_{name}", params, target(), ACT=name, KIND="f32")
    got = np.full_like(x, 12345.0)
    launch_plain.run(kernel, 2, x, got, *rows.args, 0, 0, float(A), float(B))
    return got


def test_every_activation_is_there():
    assert [activation(name).__name__ for name in ACTIVATIONS]
    assert set(CASES) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", CASES)
def test_activation_within_its_bound(name):
    x = samples()
    check(name, x, run(name, x), LIBDEVICE)
