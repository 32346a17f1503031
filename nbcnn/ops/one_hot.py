"""Indices as vectors that are ``on`` at one place (ONNX OneHot)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, window


@dataclass(frozen=True)
class OneHot(Op):
    """A new axis of ``depth`` elements (as ``axis`` of the result): ``values`` [off, on], on at the index.

    Negative indices count from the end, others that lie outside are off everywhere.
    """

    name: ClassVar[str] = "one_hot"
    operands: ClassVar[tuple[str, ...]] = ("indices", "values")
    depth: int
    axis: int = -1

    def __post_init__(self) -> None:
        window.positive("depth", self.depth)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        indices, values = types
        check.kinds(indices, self.name, check.NUMBERS)
        if not indices.rank:
            raise ShapeError(f"one_hot takes indices of rank 1 or more, got {indices}")
        if values.shape != (2,):
            raise ShapeError(f"one_hot takes the values [off, on], got {values}")
        axis = check.axis(self.axis, TensorType((1,) * (indices.rank + 1)), self.name)
        shape = (*indices.shape[:axis], self.depth, *indices.shape[axis:])
        return (check.result(shape, values.dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        indices, (off, on) = arrays[0].astype(np.int64), arrays[1]
        axis = self.axis % (indices.ndim + 1)
        place = np.expand_dims(np.where(indices < 0, indices + self.depth, indices), axis)
        every = np.arange(self.depth).reshape((-1,) + (1,) * (indices.ndim - axis))
        return (np.where(place == every, on, off),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return self.reference(arrays[0], bounds[1].astype(np.float64))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        values = TensorType((2,))
        yield Sample(cls(5), (TensorType(("N", 3), "int64"), values))
        yield Sample(cls(3, 1), (TensorType(("N", 4), "int32"), values), note="some outside")
        yield Sample(cls(4, 0), (TensorType((6,), "uint8"), TensorType((2,), "int64")), note="no batch")
        yield Sample(cls(4, 0), (TensorType(("N",), "int64"), values), error="batch")
        yield Sample(cls(4), (TensorType((), "int64"), values), error="rank 1")
        yield Sample(cls(4), (TensorType(("N",), "int64"), TensorType((3,))), error="off, on")
        yield Sample(cls(4, 3), (TensorType(("N",), "int64"), values), error="axis 3")
