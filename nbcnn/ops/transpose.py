"""A change of the order of axes, the batch first as ever (ONNX Transpose)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType


@dataclass(frozen=True)
class Transpose(Op):
    """Axis i of the result is axis ``perm[i]`` of the operand; ``perm[0]`` is 0, the batch."""

    name: ClassVar[str] = "transpose"
    perm: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "perm", tuple(int(p) for p in self.perm))
        if sorted(self.perm) != list(range(len(self.perm))):
            raise ShapeError(f"perm must name every axis once, got {list(self.perm)}")
        if self.perm[:1] != (0,):
            raise ShapeError(f"the batch must stay the first axis: perm {list(self.perm)} moves it")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        if x.rank != len(self.perm):
            raise ShapeError(f"transpose orders {len(self.perm)} axes, but {x} has {x.rank}")
        return (TensorType(tuple(x.shape[p] for p in self.perm), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.ascontiguousarray(arrays[0].transpose(self.perm)),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        image = (TensorType(("N", 3, 4, 5)),)
        yield Sample(cls((0, 2, 3, 1)), image, note="channels last")
        yield Sample(cls((0, 2, 1, 3)), image)
        yield Sample(cls((0, 2, 1, 3, 4)), (TensorType(("N", 2, 3, 2, 2)),), note="channel shuffle")
        yield Sample(cls((0, 1)), (TensorType(("N", 3)),), note="identity")
        yield Sample(cls((0, 2, 1)), image, error="orders 3 axes")
