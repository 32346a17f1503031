"""The error function of arrays and its complement, to the last bits of float64.

Source: W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969)
631-637, with the coefficients of his CALERF. NumPy has none, and SciPy is a large dependency for one.
"""

from __future__ import annotations

import math

import numpy as np

_NEAR = (  # erf(x) / x in x**2, for |x| <= 0.46875
    (
        1.85777706184603153e-1,
        3.16112374387056560e00,
        1.13864154151050156e02,
        3.77485237685302021e02,
        3.20937758913846947e03,
    ),
    (1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03),
)
_MIDDLE = (  # exp(x**2) * erfc(x) in x, for 0.46875 <= x <= 4
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e00,
        6.61191906371416295e01,
        2.98635138197400131e02,
        8.81952221241769090e02,
        1.71204761263407058e03,
        2.05107837782607147e03,
        1.23033935479799725e03,
    ),
    (
        1.0,
        1.57449261107098347e01,
        1.17693950891312499e02,
        5.37181101862009858e02,
        1.62138957456669019e03,
        3.29079923573345963e03,
        4.36261909014324716e03,
        3.43936767414372164e03,
        1.23033935480374942e03,
    ),
)
_FAR = (  # (1 / sqrt(pi) - x * exp(x**2) * erfc(x)) * x**2 in 1 / x**2, for x >= 4
    (
        1.63153871373020978e-2,
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (
        1.0,
        2.56852019228982242e00,
        1.87295284992346725e00,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, small values with full relative accuracy; in the dtype of ``x``."""
    near = np.clip(x, -0.46875, 0.46875)
    return np.where(abs(x) <= 0.46875, near * _rational(_NEAR, near * near), np.copysign(1 - _tail(x), x))


def erfc(x: np.ndarray) -> np.ndarray:
    """1 - erf(x), small values with full relative accuracy; in the dtype of ``x``."""
    tail = _tail(x)
    near = np.clip(x, -0.46875, 0.46875)
    near = 1 - near * _rational(_NEAR, near * near)
    return np.where(abs(x) <= 0.46875, near, np.where(x < 0, 2 - tail, tail))


def _tail(x: np.ndarray) -> np.ndarray:
    """erfc(|x|) for |x| > 0.46875."""
    y = np.minimum(abs(x), x.dtype.type(28))  # erfc(28) is below the smallest float64
    far = np.where(y > 4, 1 / np.maximum(y, 4) ** 2, 0)
    tail = np.where(
        y > 4,
        (1 / math.sqrt(math.pi) - far * _rational(_FAR, far)) / np.maximum(y, 4),
        _rational(_MIDDLE, np.minimum(y, 4)),
    )
    # exp(-y*y) in two factors, the first of which is exact in y*y: the rounding of y*y would cost
    # y*y units in the last place.
    coarse = np.floor(y * 16) / 16
    return tail * np.exp(-coarse * coarse) * np.exp(-(y - coarse) * (y + coarse))


def _rational(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: np.ndarray) -> np.ndarray:
    above, below = coefficients
    return _horner(above, x) / _horner(below, x)


def _horner(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    y = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        y = y * x + c
    return y
