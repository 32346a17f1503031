"""Division by numbers that are known when a kernel is launched: a multiplication and a shift.

Granlund and Montgomery, Division by Invariant Integers using Multiplication (PLDI 1994): for d of l bits
(2**l >= d) and m = ceil(2**(30 + l) / d), n // d is (n * m) >> (30 + l) for every 0 <= n <= 2**30, and m
fits in 31 bits. `nbcnn.kernels.cuda.simt.integers` is the device's part.
"""

from __future__ import annotations

LIMIT = 1 << 30
"""The largest number that is divided so."""


def reciprocal(divisor: int) -> tuple[int, int]:
    """(factor, shift) for a ``divisor`` from 1 to `LIMIT`."""
    bits = (divisor - 1).bit_length()
    return -(-(1 << (30 + bits)) // divisor), 30 + bits
