"""Where elements lie: places along axes, and offsets that need 64 bits though their factors fit in 32."""

from __future__ import annotations

from numba import cuda, int32, uint32, uint64

from nbcnn.kernels.cuda.simt.integers import quotient


@cuda.jit(device=True)
def offset(count, stride):
    """uint64: ``count * stride``, neither negative. An unsigned index is never counted from the end."""
    return uint64(uint32(count)) * uint64(uint32(stride))


@cuda.jit(device=True)
def digit(count, extent, factor, shift):
    """int32s: what is left of ``count`` behind an axis of ``extent`` elements, and the place on that axis."""
    rest = quotient(count, factor, shift)
    return rest, int32(count - rest * extent)
