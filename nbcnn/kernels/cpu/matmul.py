"""matmul of two values, or of a value and a constant, over any axes before the matrices."""

from __future__ import annotations

import math

import numpy as np

from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import PLAIN, Arg, Emit, Kernel, Layout, Site, Step, View, nhwc
from nbcnn.options import CompileOptions
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import Target

_VECTORS = 2
"""Vectors of a tile: with 8 rows, 16 independent chains of multiply-adds."""


class MatMul(Kernel):
    """Each pair of matrices is multiplied where it lies; a constant right one is packed beforehand."""

    name = "matmul"
    takes_constants = True

    def refuse(self, site: Site, target: Target, options: CompileOptions) -> str | None:
        if site.op.name != "matmul":
            return f"{site.op.name} is no matmul"
        return None if min(t.rank for t in site.in_types) > 1 else "a vector is no matrix"

    def cost(self, site: Site, target: Target) -> float:
        return site.macs / (5e9 * target.lanes)

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        """Rows [N, K] may be padded."""
        type_ = site.in_types[slot]
        return layout == PLAIN or (slot == 0 and type_.rank == 2 and layout == nhwc(type_))

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (PLAIN, PLAIN)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        (result,) = site.out_types
        return (nhwc(result) if result.rank == 2 else PLAIN,)

    def steps(self, site: Site, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit) -> list[Step]:
        (a, b), (out,), target = ins, outs, emit.target
        left, right, result = (t.extents(emit.batch) for t in (*site.in_types, *site.out_types))
        rows, depth, cols = left[-2], left[-1], right[-1]
        lead = [
            (n, _step(left, i, len(result)), _step(right, i, len(result)), math.prod(result[i + 1 :]))
            for i, n in enumerate(result[:-2])
        ]
        if len(right) == 2 and left[:-1] == result[:-1]:  # one matrix for all rows
            rows, lead = math.prod(left[:-1]), []
        pairs = lead or [(1, 0, 0, 0)]
        width = _VECTORS * target.lanes
        right_matrix: Arg = b.address
        b_row, panel = cols, width
        if b.buffer.array is not None and len(right) == 2:
            key = ("weights", "columns", site.data[1], width)
            right_matrix, b_row, panel = (
                emit.store.get(key, lambda: _packed(b.buffer.array, width)),
                width,
                depth * width,
            )
        mr = 1 if rows == 1 else 8 if target.registers >= 32 else 6 if target.lanes >= 8 else 4
        args: tuple[Arg, ...] = (
            *(a.address, right_matrix, out.address, math.prod(p[0] for p in pairs), len(pairs)),
            *(rows, depth, cols, _pitch(a, site.in_types[0]), b_row, _pitch(out, site.out_types[0]), panel),
            *(word for pair in reversed(pairs) for word in pair),
        )
        spec = KernelSpec(
            "nbcnn.kernels.cpu.code.matmul:make",
            (("MR", mr), ("NV", _VECTORS), ("LANES", target.lanes)),
            f"f32_matmul_{mr}x{width}__{target.isa}",
        )
        nbytes = 4 * (math.prod(left) + math.prod(right) + math.prod(result))
        return [Step(site.name, spec, args, macs=site.macs * emit.batch, nbytes=nbytes)]


def _packed(matrix: np.ndarray | None, width: int) -> np.ndarray:
    """[K, M] as [ceil(M / width), K, width], zeros past the last column."""
    assert matrix is not None
    depth, cols = matrix.shape
    panels = -(-cols // width)
    padded = np.zeros((depth, panels * width), np.float32)
    padded[:, :cols] = matrix
    return np.ascontiguousarray(padded.reshape(depth, panels, width).swapaxes(0, 1))


def _pitch(view: View, type_: TensorType) -> int:
    """The distance of two rows of a matrix."""
    return int(type_.shape[-1]) if view.layout == PLAIN else view.image_stride


def _step(shape: tuple[int, ...], axis: int, rank: int) -> int:
    """The distance of neighbours along ``axis`` of the result in a plain operand; 0 where it is broadcast."""
    own = axis - (rank - len(shape))
    return math.prod(shape[own + 1 :]) if own >= 0 and shape[own] > 1 else 0
