"""Index arithmetic in 32 bits: what loops over several axes are counted with.

Unsigned where a product is wide: the compiler moves the widening of a kernel's parameter out of loops, and
only zeros are known to be such where it is used. A wide product of signed numbers takes five instructions.
"""

from __future__ import annotations

from numba import cuda, int32, int64, uint32, uint64


@cuda.jit(device=True)
def quotient(number, factor, shift):
    """int32: ``number`` over what `nbcnn.kernels.cuda.division.reciprocal` was asked for."""
    return int32((uint64(uint32(number)) * uint64(uint32(factor))) >> uint64(uint32(shift)))


@cuda.jit(device=True)
def distance(count, stride):
    """int64: ``count * stride``, both of 32 bits; signed, for what does not fit in 32."""
    return int64(int32(count)) * int64(int32(stride))


@cuda.jit(device=True)
def along(count, n, factor, shift, a, b):
    """int32s: what is left of ``count`` behind an axis of ``n``, and two distances along that."""
    rest = quotient(count, factor, shift)
    digit = int32(count - rest * n)
    return rest, int32(digit * a), int32(digit * b)
