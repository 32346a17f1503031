"""Rows picked by indices: out[o, i] = x[o, indices[i]], rows of ``width`` elements.

Negative indices count from the end; those outside read an end of the axis (who calls has checked them:
this only keeps a race from reading elsewhere).
"""

from __future__ import annotations

from collections.abc import Callable

from numba import cuda, int32, int64, uint32, uint64

from nbcnn.kernels.cuda.simt.integers import quotient


def make() -> Callable[..., None]:
    """An element at a time; ``f`` and ``h`` with a letter are the reciprocals of ``width`` and ``count``."""

    def gather(x, indices, out, total, width, fw, hw, count, fc, hc, extent):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < total:
            row = quotient(i, fw, hw)
            outer = quotient(row, fc, hc)
            index = int64(indices[uint32(row - outer * count)])
            if index < 0:
                index += extent
            index = min(max(index, int64(0)), int64(extent - 1))
            at = (int64(outer) * int64(extent) + index) * int64(width) + int64(i - row * width)
            out[uint32(i)] = x[uint64(at)]
            i = int32(i + step)

    return gather
