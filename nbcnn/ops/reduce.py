"""Reductions along axes other than the batch (ONNX ReduceMean)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, rounding


@dataclass(frozen=True)
class ReduceMean(Op):
    """The mean along ``axes`` (negative ones count from the end); ``keepdims`` leaves them with extent 1."""

    name: ClassVar[str] = "reduce_mean"
    axes: tuple[int, ...]
    keepdims: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(int(a) for a in self.axes))
        if not self.axes:
            raise ShapeError("reduce_mean needs at least one axis")

    def along(self, x: TensorType) -> tuple[int, ...]:
        """The axes in ascending order, counted from the front; raises ShapeError for bad ones."""
        axes = sorted(check.axis(a, x, self.name) for a in self.axes)
        if len(set(axes)) < len(axes):
            raise ShapeError(f"reduce_mean names an axis twice: {list(self.axes)}")
        if axes[0] == 0:
            raise ShapeError("reduce_mean cannot reduce the batch, axis 0")
        return tuple(axes)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check.floating(x, self.name)
        axes = self.along(x)
        if not all(check.number(x.shape[a], x) for a in axes):
            raise ShapeError(f"reduce_mean of nothing, {x}")
        kept = [1 if i in axes else d for i, d in enumerate(x.shape) if self.keepdims or i not in axes]
        return (TensorType(tuple(kept), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        return (x.mean(axis=self.along(TensorType(x.shape)), keepdims=self.keepdims),)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return math.prod(int(inputs[0].shape[a]) for a in self.along(inputs[0]))

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        terms = self.reduction([TensorType(arrays[0].shape)]) + 1
        return rounding.multilinear(self, arrays, bounds, terms, u)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        image = (TensorType(("N", 3, 4, 5)),)
        yield Sample(cls((2, 3)), image, note="the plane")
        yield Sample(cls((-1, -2), False), image, note="the plane, without its axes")
        yield Sample(cls((1,)), image, note="channels")
        yield Sample(cls((1, 2, 3), False), image)
        yield Sample(cls((1,)), (TensorType(("N", 1)),), note="identity")
        yield Sample(cls((0,)), image, error="batch")
        yield Sample(cls((2, -2)), image, error="twice")
        yield Sample(cls((4,)), image, error="axis 4")
        yield Sample(cls((2,)), (TensorType(("N", 3, "H", 5)),), error="bound")
        yield Sample(cls((1,)), (TensorType(("N", 3), "int64"),), error="floats")
