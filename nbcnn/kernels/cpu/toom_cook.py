"""Fast filtering in one dimension: F(m, r), m outputs of r taps from fewer than m * r products.

A. Toom and S. Cook's interpolation, transposed as S. Winograd showed ("Arithmetic Complexity of
Computations", 1980): ``y = A^T ((G g) * (B^T d))`` for taps g [r] and inputs d [m + r - 1] takes
m + r - 1 products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Algorithm:
    """``output @ ((filter @ g) * (input @ d))``: ``outputs`` outputs ``stride`` apart, of ``taps`` taps.

    There are as many inputs as products, (outputs - 1) * stride + taps, if the stride is not above the taps.
    """

    outputs: int
    taps: int
    stride: int
    output: Matrix
    """A^T [outputs, size]"""
    filter: Matrix
    """G [size, taps]"""
    input: Matrix
    """B^T [size, size]"""

    @property
    def size(self) -> int:
        """Inputs, and products."""
        return len(self.input)


POINTS = {
    (2, 2): ("1", "-1"),
    (4, 2): ("1/2", "-1/2", "3/2", "-3/2"),
    (2, 3): ("0", "1", "-1"),
    (4, 3): ("0", "1", "-1", "2", "-2"),
    (6, 3): ("0", "1", "-1", "2", "-2", "1/2", "-1/2"),
    (4, 4): ("0", "1", "-1", "2", "-2", "-1/2"),
    (2, 5): ("0", "3/4", "-3/4", "3/2", "-3/2"),
    (4, 5): ("0", "1", "-1", "2", "-2", "1/2", "-1/2"),
    (2, 7): ("0", "1", "-1", "2", "-2", "1/2", "-1/2"),
    (4, 7): ("0", "1/2", "-1/2", "3/4", "-3/4", "5/4", "-5/4", "5/2", "-5/2"),
}
"""Where F(outputs, taps) interpolates, besides infinity: of the sets of small fractions those whose sums err
least on normal data, or nearly; pairs p and -p share half of their arithmetic."""


@cache
def algorithm(outputs: int, taps: int, stride: int = 1) -> Algorithm:
    """F(outputs, taps) of the table; with one tap, the product itself.

    A filter of a stride above 1 is the sum of filters of stride 1, one for each phase of the inputs.
    """
    if taps == 1:
        same = tuple(tuple(float(i == k) for k in range(outputs)) for i in range(outputs))
        return Algorithm(outputs, 1, stride, same, ((1.0,),) * outputs, same)
    if stride == 1:
        points = tuple(Fraction(p) for p in POINTS[outputs, taps])
        return Algorithm(outputs, taps, 1, *matrices(points, outputs, taps))
    phases = [algorithm(outputs, len(range(phase, taps, stride))) for phase in range(stride)]
    size = sum(part.size for part in phases)
    output = tuple(sum((part.output[i] for part in phases), ()) for i in range(outputs))
    filter_, input_ = [], []
    for phase, part in enumerate(phases):
        filter_ += [_spread(row, phase, stride, taps) for row in part.filter]
        input_ += [_spread(row, phase, stride, size) for row in part.input]
    return Algorithm(outputs, taps, stride, output, tuple(filter_), tuple(input_))


def _spread(row: Sequence[float], first: int, step: int, length: int) -> tuple[float, ...]:
    """``row`` at every ``step``-th place from ``first`` of ``length``, zeros elsewhere."""
    found = [0.0] * length
    found[first : first + step * len(row) : step] = row
    return tuple(found)


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
