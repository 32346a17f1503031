"""A change of the order of axes (ONNX Transpose)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check


@dataclass(frozen=True)
class Transpose(Op):
    """Axis i of the result is axis ``perm[i]`` of the operand; the batch stays the first."""

    name: ClassVar[str] = "transpose"
    perm: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "perm", tuple(int(p) for p in self.perm))
        if sorted(self.perm) != list(range(len(self.perm))):
            raise ShapeError(f"perm must name every axis once, got {list(self.perm)}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        if x.rank != len(self.perm):
            raise ShapeError(f"transpose orders {len(self.perm)} axes, but {x} has {x.rank}")
        return (check.result((x.shape[p] for p in self.perm), x.dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].transpose(self.perm).copy(),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        image = (TensorType(("N", 3, 4, 5)),)
        yield Sample(cls((0, 2, 3, 1)), image, note="channels last")
        yield Sample(cls((0, 2, 1, 3)), image)
        yield Sample(cls((0, 2, 1, 3, 4)), (TensorType(("N", 2, 3, 2, 2)),), note="channel shuffle")
        yield Sample(cls((0, 1)), (TensorType(("N", 3)),), note="identity")
        yield Sample(cls((1, 2, 0)), (TensorType((2, 3, 4), "uint8"),), note="no batch")
        yield Sample(cls(()), (TensorType(()),), note="no axes")
        yield Sample(cls((1, 0)), (TensorType(("N", 3)),), error="batch")
        yield Sample(cls((0, 2, 1)), image, error="orders 3 axes")
