"""Axes of extent 1 put in and taken out (ONNX Unsqueeze, Squeeze)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import Dim, TensorType
from nbcnn.ops import check


@dataclass(frozen=True)
class Squeeze(Op):
    """Takes out ``axes``, each of extent 1 (negative: from the end); without them every such axis."""

    name: ClassVar[str] = "squeeze"
    axes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.axes is not None:
            object.__setattr__(self, "axes", tuple(int(a) for a in self.axes))

    def along(self, x: TensorType) -> tuple[int, ...]:
        """The axes to take out in ascending order, counted from the front."""
        if self.axes is None:
            return tuple(i for i, d in enumerate(x.shape) if d == 1)
        return check.axes(self.axes, x, self.name)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        out = self.along(x)
        for axis in out:
            if x.shape[axis] != 1:
                raise ShapeError(
                    f"squeeze takes out axes of extent 1, axis {axis} of {x} has {x.shape[axis]}"
                )
        return (TensorType(tuple(d for i, d in enumerate(x.shape) if i not in out), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        return (x.squeeze(self.along(TensorType(x.shape))),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        image = (TensorType(("N", 6, 1, 1)),)
        yield Sample(cls((2, 3)), image, note="a pooled plane")
        yield Sample(cls((-1,)), image)
        yield Sample(cls(), (TensorType((1, 3, 1)),), note="every axis of extent 1")
        yield Sample(cls(()), image, note="none")
        yield Sample(cls((0,)), (TensorType((1,), "int64"),), note="to a scalar")
        yield Sample(cls((1,)), image, error="axis 1")
        yield Sample(cls((0,)), image, error="has N")
        yield Sample(cls((2, -2)), image, error="twice")
        yield Sample(cls((4,)), image, error="axis 4")


@dataclass(frozen=True)
class Unsqueeze(Op):
    """Puts in axes of extent 1 so that they are ``axes`` of the result (negative ones count from its end)."""

    name: ClassVar[str] = "unsqueeze"
    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(int(a) for a in self.axes))

    def along(self, x: TensorType) -> tuple[int, ...]:
        """The axes put in, in ascending order, counted from the front of the result."""
        return check.axes(self.axes, TensorType((1,) * (x.rank + len(self.axes)), x.dtype), self.name)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        shape: list[Dim] = list(x.shape)
        for axis in self.along(x):
            shape.insert(axis, 1)
        return (check.result(shape, x.dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        return (np.expand_dims(x, self.along(TensorType(x.shape))),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        rows = (TensorType(("N", 6)),)
        yield Sample(cls((2, 3)), rows, note="a plane of one point")
        yield Sample(cls((-1, 1)), rows, note="in any order")
        yield Sample(cls((0,)), (TensorType((), "int64"),), note="of a scalar")
        yield Sample(cls((0, 1)), (TensorType((3, 2)),), note="no batch")
        yield Sample(cls((0,)), rows, error="batch")
        yield Sample(cls((2, -2)), rows, error="twice")
        yield Sample(cls((3,)), rows, error="axis 3")
