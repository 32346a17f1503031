"""The matrices of fast filtering F(m, r): m outputs of r taps from m + r - 1 products.

A. Toom and S. Cook's interpolation, transposed as S. Winograd showed ("Arithmetic Complexity of
Computations", 1980): ``y = A^T ((G g) * (B^T d))`` for taps g [r] and inputs d [m + r - 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache

Matrix = tuple[tuple[float, ...], ...]


@cache
def matrices(points: tuple[Fraction, ...], outputs: int, taps: int) -> tuple[Matrix, Matrix, Matrix]:
    """A^T [m, n], G [n, r] and B^T [n, n] for the n - 1 finite ``points``; the last point is infinity."""
    size = outputs + taps - 1
    assert len(points) == len(set(points)) == size - 1
    a = [[p**i for p in points] + [Fraction(i == outputs - 1)] for i in range(outputs)]
    g, b = [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = Fraction(1)
        for q in others:
            scale *= p - q
        g.append([p**k / scale for k in range(taps)])
        b.append([*_polynomial(others), Fraction(0)])
    g.append([Fraction(k == taps - 1) for k in range(taps)])
    b.append(_polynomial(points))
    return _floats(a), _floats(g), _floats(b)


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), lowest power first."""
    found = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *found]
        found = [s - root * f for s, f in zip(shifted, [*found, Fraction(0)], strict=True)]
    return found


def _floats(rows: list[list[Fraction]]) -> Matrix:
    return tuple(tuple(float(x) for x in row) for row in rows)


STEM = (tuple(Fraction(p) for p in ("0", "1", "-1", "2", "-2", "-1/2")), 4, 4)
"""F(4, 4) of first layers: of the sets of small points the one whose sums err least on normal data."""
