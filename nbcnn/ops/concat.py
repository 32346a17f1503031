"""Concatenation of any number of operands along one axis, not the batch ``N`` (ONNX Concat)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check


@dataclass(frozen=True)
class Concat(Op):
    """Puts the operands one after the other along ``axis`` (1: the channels)."""

    name: ClassVar[str] = "concat"
    operands: ClassVar[tuple[str, ...]] = ("*x",)
    axis: int = 1

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        first = types[0]
        axis = check.axis(self.axis, first, self.name)
        total = 0
        for place, type_ in enumerate(types):
            if type_.dtype != first.dtype or type_.rank != first.rank:
                raise ShapeError(f"concat takes one rank and dtype, got {first} and {type_}")
            for i, (want, got) in enumerate(zip(first.shape, type_.shape, strict=True)):
                if i != axis and want != got:
                    raise ShapeError(f"concat input {place} has {got} on axis {i}, the first has {want}")
            total += check.extent(axis, type_, self.name)
        return (TensorType((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.concatenate(arrays, axis=self.axis),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        def image(c: int, h: int = 3, w: int = 4) -> TensorType:
            return TensorType(("N", c, h, w))

        yield Sample(cls(), (image(5),), note="one operand")
        yield Sample(cls(), (image(1), image(17), image(3)), note="odd channel counts")
        yield Sample(cls(2), (image(2), image(2, 5)))
        yield Sample(cls(-1), (image(2), image(2, 3, 2)))
        yield Sample(cls(), (TensorType(("N", 3)), TensorType(("N", 4))))
        yield Sample(cls(0), (TensorType((2, 3), "int64"), TensorType((4, 3), "int64")), note="no batch")
        yield Sample(cls(0), (TensorType((2,)), TensorType((0,)), TensorType((1,))), note="an empty operand")
        yield Sample(cls(), (image(2), image(2, 4)), error="axis 2")
        yield Sample(cls(0), (image(2), image(2)), error="batch")
        yield Sample(cls(4), (image(2), image(2)), error="axis 4")
        yield Sample(cls(), (image(2), TensorType(("N", 2))), error="rank")
