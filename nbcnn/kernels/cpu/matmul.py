"""matmul of two values, or of a value and a constant, over any axes before the matrices."""

from __future__ import annotations

import numpy as np

from nbcnn.kernels import matmul
from nbcnn.kernels.base import Emit, Site
from nbcnn.kernels.layouts import View
from nbcnn.kernels.matmul import Pairs, pitch
from nbcnn.kernels.steps import Arg, Step
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

_VECTORS = 2
"""Vectors of a tile: with 8 rows, 16 independent chains of multiply-adds."""


class MatMul(matmul.MatMul[Target]):
    """Each pair of matrices is multiplied where it lies; a constant right one is packed beforehand."""

    def cost(self, site: Site, target: Target) -> float:
        return site.macs / (5e9 * target.lanes)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (a, b), (out,), target = ins, outs, emit.target
        pairs = Pairs.of(site, emit.batch)
        rows, depth, cols = pairs.rows, pairs.depth, pairs.cols
        axes = pairs.axes or ((1, 0, 0, 0),)
        width = _VECTORS * target.lanes
        right_matrix: Arg = b.address
        b_row, panel = cols, width
        if b.buffer.array is not None and site.in_types[1].rank == 2:
            key = ("weights", "columns", site.data[1], width)
            right_matrix, b_row, panel = (
                emit.store.get(key, lambda: _packed(b.buffer.array, width)),
                width,
                depth * width,
            )
        mr = 1 if rows == 1 else 8 if target.registers >= 32 else 6 if target.lanes >= 8 else 4
        args: tuple[Arg, ...] = (
            *(a.address, right_matrix, out.address, pairs.count, len(axes)),
            *(rows, depth, cols, pitch(a, site.in_types[0]), b_row, pitch(out, site.out_types[0]), panel),
            *(word for axis in reversed(axes) for word in axis),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.matmul:make",
            (("MR", mr), ("NV", _VECTORS), ("LANES", target.lanes)),
            f"f32_matmul_{mr}x{width}__{target.isa}",
        )
        nbytes = sum(t.nbytes(emit.batch) for t in (*site.in_types, *site.out_types))
        return [Step(site.name, spec, args, macs=site.macs * emit.batch, nbytes=nbytes)]


def _packed(matrix: np.ndarray | None, width: int) -> np.ndarray:
    """[K, M] as [ceil(M / width), K, width], zeros past the last column."""
    assert matrix is not None
    depth, cols = matrix.shape
    panels = -(-cols // width)
    padded = np.zeros((depth, panels * width), np.float32)
    padded[:, :cols] = matrix
    return np.ascontiguousarray(padded.reshape(depth, panels, width).swapaxes(0, 1))
