"""Index arithmetic in 32 bits, as far as it goes: what loops over several axes are counted with."""

from __future__ import annotations

from numba import cuda, int32, int64


@cuda.jit(device=True)
def quotient(number, factor, shift):
    """int32: ``number`` over what `nbcnn.kernels.cuda.division.reciprocal` was asked for."""
    return int32((int64(number) * int64(factor)) >> int64(shift))


@cuda.jit(device=True)
def distance(count, stride):
    """int64: ``count * stride``, both of 32 bits: one wide multiplication."""
    return int64(int32(count)) * int64(int32(stride))
