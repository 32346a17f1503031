"""Activations far from zero and on odd values, and the error function that one of them needs."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from nbcnn import ops
from nbcnn.ops.activation import Activation
from nbcnn.ops.erf import erf, erfc

FUNCTIONS = [name for name in ops.OPS if issubclass(ops.get(name), Activation)]
ACTIVATIONS = [n for n in FUNCTIONS if all(op.slope() is not None for op in ops.get(n).variants())]


def test_erf_agrees_with_math() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20001), [0.46875, -0.46875, 0.0, 1e-300, 100.0, -1e9]])
    np.testing.assert_allclose(erf(x), [math.erf(v) for v in x], rtol=2e-15)
    assert np.isnan(erf(np.array([np.nan]))).all()
    x = np.concatenate([x, [1e-30, -1e-5]]).astype(np.float32)
    np.testing.assert_allclose(erf(x), [math.erf(v) for v in x], rtol=1e-6)


def test_erfc_agrees_with_math() -> None:
    x = np.concatenate([np.linspace(-7, 26, 20001), [0.46875, 4.0, -0.46875, -4.0, 0.0, 1e-300, 100.0, -1e9]])
    want = np.array([math.erfc(v) for v in x])
    np.testing.assert_allclose(erfc(x), want, rtol=2e-15)
    assert np.isnan(erfc(np.array([np.nan]))).all()
    x = x.astype(np.float32)
    want = np.array([math.erfc(v) for v in x])
    np.testing.assert_allclose(erfc(x), want, rtol=3e-6, atol=1e-37)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_large_operands(name: str, dtype: type) -> None:
    x = np.array([-1e30, -1e4, -100, -30, -0.0, 0.0, 1e-30, 30, 100, 1e4, 1e30], dtype)
    for op in ops.get(name).variants():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (y,) = op.reference(x)
        assert y.dtype == dtype
        assert np.isfinite(y).all()
        (nan,) = op.reference(np.array([np.nan], dtype))
        assert np.isnan(nan).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_is_the_largest(name: str) -> None:
    x = np.linspace(-12, 12, 200001)
    for op in ops.get(name).variants():
        steepest = abs(np.diff(op.apply(x)) / np.diff(x)).max()
        assert 0.98 * op.slope() <= steepest <= op.slope() * 1.000001


def test_softmax_of_large_scores(rng) -> None:
    x = (rng.standard_normal((2, 9)) * 1e4).astype(np.float32)
    (y,) = ops.get("softmax")().reference(x)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
