"""matmul of two values, or of a value and a constant: what the records of every target share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import AnyTarget, Kernel, Site
from nbcnn.kernels.layouts import PLAIN, Layout, View, nhwc
from nbcnn.options import CompileOptions


class MatMul(Kernel[AnyTarget]):
    """Each pair of matrices is multiplied where it lies."""

    name = "matmul"
    takes_constants = True

    def refuse(self, site: Site, target: AnyTarget, options: CompileOptions) -> str | None:
        if site.op.name != "matmul":
            return f"{site.op.name} is no matmul"
        return None if min(t.rank for t in site.in_types) > 1 else "a vector is no matrix"

    def accepts(self, site: Site, slot: int, layout: Layout) -> bool:
        """Rows [N, K] may be padded."""
        type_ = site.in_types[slot]
        return layout == PLAIN or (slot == 0 and type_.rank == 2 and layout == nhwc(type_))

    def reads(self, site: Site) -> tuple[Layout, ...]:
        return (PLAIN, PLAIN)

    def writes(self, site: Site, ins: tuple[Layout, ...]) -> tuple[Layout, ...]:
        (result,) = site.out_types
        return (nhwc(result) if result.rank == 2 else PLAIN,)


@dataclass(frozen=True)
class Pairs:
    """Matrices [rows, depth] and [depth, cols], a pair for each place along ``axes``.

    An axis is its extent and the distances of neighbouring matrices: left, right, result.
    """

    rows: int
    depth: int
    cols: int
    axes: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(cls, site: Site, batch: int) -> Pairs:
        """Those of a matmul; one matrix for all rows makes them rows of a single pair."""
        left, right, result = (t.extents(batch) for t in (*site.in_types, *site.out_types))
        if len(right) == 2 and left[:-1] == result[:-1]:
            return cls(math.prod(left[:-1]), left[-1], right[-1], ())
        axes = tuple(
            (n, _step(left, i, len(result)), _step(right, i, len(result)), math.prod(result[i + 1 :]))
            for i, n in enumerate(result[:-2])
        )
        return cls(left[-2], left[-1], right[-1], axes)

    @property
    def count(self) -> int:
        return math.prod(axis[0] for axis in self.axes)


def pitch(view: View, type_: TensorType) -> int:
    """The distance of two rows of a matrix."""
    return int(type_.shape[-1]) if view.layout == PLAIN else view.image_stride


def _step(shape: tuple[int, ...], axis: int, rank: int) -> int:
    """The distance of neighbours along ``axis`` of the result in a plain operand; 0 where it is broadcast."""
    own = axis - (rank - len(shape))
    return math.prod(shape[own + 1 :]) if own >= 0 and shape[own] > 1 else 0
