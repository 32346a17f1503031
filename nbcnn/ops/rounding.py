"""Bounds on rounding errors, from which each operator's `error` is made.

Notation: u is the unit roundoff (2**-24 in float32), one rounded operation gives
``fl(a o b) = (a o b)(1 + d), |d| <= u``. A product sum of k rounded operations then errs by at most
gamma_k * sum |a||b| whatever the order of its terms and with or without fused multiply-add
(Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

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
    product; rounding adds gamma_k * f(|x| + |e|).
    """
    high = op.reference(*(abs(a) + e for a, e in zip(arrays, bounds, strict=True)))
    low = op.reference(*map(abs, arrays)) if any(e.any() for e in bounds) else high
    return tuple((top - base) + gamma(k, u) * top for top, base in zip(high, low, strict=True))
