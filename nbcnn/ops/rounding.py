"""Bounds on rounding errors, from which each operator's `error` is made.

Notation: u is the unit roundoff (2**-24 in float32), one rounded operation gives
``fl(a o b) = (a o b)(1 + d), |d| <= u``. A product sum of k rounded operations then errs by at most
gamma_k * sum |a||b| whatever the order of its terms and with or without fused multiply-add
(Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from nbcnn.ir.types import is_float

if TYPE_CHECKING:
    from nbcnn.ir.op import Op

FEW = 8
"""Roundings that one evaluation of a transcendental function may cost: 4 units in the last place."""


def gamma(k: int, u: float) -> float:
    """Relative error of a sum of ``k`` rounded operations.

    Up to k = 64 the worst case, k*u / (1 - k*u). Above, k gives way to 8*sqrt(k), the bound of
    Higham and Mary (SIAM J. Sci. Comput. 41, 2019) for rounding errors of mean zero: it fails with a
    probability below 2*exp(-32) an element, and a test against it sees one lost term among
    thousands, which the worst case hides. It does not hold for thousands of *equal* terms, whose
    rounding errors all point the same way: give those a ``factor``.
    """
    steps = min(k, 8 * math.sqrt(k))
    return steps * u / (1 - steps * u)


def multilinear(
    op: Op, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], k: int, u: float
) -> tuple[np.ndarray, ...]:
    """Error of an operator f that sums products of its operands, each output in ``k`` roundings.

    |f(x + e) - f(x)| <= f(|x| + |e|) - f(|x|) for every operand at once, because each term is a
    product; rounding adds gamma_k * f(|x| + |e|). Integers among the operands are
    indices, taken as they are; results of integers alone are exact.
    """
    if all(not is_float(a.dtype) for a in arrays):
        return tuple(np.zeros(r.shape) for r in op.reference(*arrays))
    size = [abs(a) if is_float(a.dtype) else a for a in arrays]
    high = op.reference(*(a + e for a, e in zip(size, bounds, strict=True)))
    low = op.reference(*size) if any(e.any() for e in bounds) else high
    return tuple((top - base) + gamma(k, u) * top for top, base in zip(high, low, strict=True))


def corners(op: Op, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """How far the results move at most when each operand moves within its bound, for an operator that is
    monotone or convex in each of them alone: its values on a box are then farthest off in a corner.

    Infinite where a corner lies outside the operator's domain.
    """
    exact = op.reference(*arrays)
    farthest = [np.zeros(y.shape) for y in exact]
    moving = [i for i, e in enumerate(bounds) if e.any()]
    if not moving:
        return tuple(farthest)
    with np.errstate(all="ignore"):
        for signs in product((-1, 1), repeat=len(moving)):
            moved = list(arrays)
            for i, sign in zip(moving, signs, strict=True):
                moved[i] = arrays[i] + sign * bounds[i]
            for far, there, here in zip(farthest, op.reference(*moved), exact, strict=True):
                apart = abs(there.astype(np.float64) - here.astype(np.float64))
                np.maximum(far, np.where(np.isnan(apart), np.inf, apart), out=far, where=there != here)
    return tuple(farthest)
