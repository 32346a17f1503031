"""Elements replaced or changed at run-time indices (ONNX ScatterElements, ScatterND).

Indices are int32 or int64; negative ones count from the end. ``combine`` (ONNX ``reduction``) says what
an update does: it replaces what is there (``none``; the last of several stays), is added to it,
multiplied with it or compared with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, gather, rounding

Combine = Literal["none", "add", "mul", "max", "min"]

_UFUNC = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


class _Scatter(Op):
    operands: ClassVar[tuple[str, ...]] = ("x", "indices", "updates")
    combine: Combine

    def places(self, indices: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """What indexes, in NumPy, the elements of x that the updates change."""
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, indices, updates = arrays
        y, places = x.copy(), self.places(indices, x.shape)
        if self.combine == "none":
            y[places] = updates
        else:
            _UFUNC[self.combine].at(y, places, updates)
        return (y,)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        if self.combine in ("add", "mul"):
            return rounding.multilinear(
                self, arrays, bounds, arrays[1].size + 1, u
            )  # all may meet in one place
        if self.combine == "min":  # an extremum is off by no more than the worst of what it compares
            return replace(self, combine="max").error(arrays, bounds, u)  # type: ignore[type-var]
        return super().error(arrays, bounds, u)


def _check(x: TensorType, indices: TensorType, updates: TensorType, want: tuple, op: str) -> None:
    gather.integers(indices, op)
    if updates != TensorType(want, x.dtype):
        raise ShapeError(f"{op} takes updates {TensorType(want, x.dtype)} for {x}, got {updates}")


@dataclass(frozen=True)
class ScatterElements(_Scatter):
    """y = x, but y[i, indices[i, j, k], k] becomes updates[i, j, k], here for ``axis`` 1."""

    name: ClassVar[str] = "scatter_elements"
    axis: int = 0
    combine: Combine = "none"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, indices, updates = types
        gather.aligned(x, indices, self.axis, self.name)
        _check(x, indices, updates, indices.shape, self.name)
        return (x,)

    def places(self, indices: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        return gather.along(indices, self.axis, shape[self.axis], self.name)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        x, indices = TensorType(("N", 5, 4)), TensorType(("N", 1, 3), "int64")
        updates = TensorType(("N", 1, 3))
        yield Sample(cls(1), (x, indices, updates))
        for combine in ("add", "mul", "max", "min"):
            several = (TensorType(("N", 4, 4), "int32"), TensorType(("N", 4, 4)))
            yield Sample(cls(1, combine), (x, *several), note=f"{combine}, several at one place")
        yield Sample(cls(-1), (TensorType((2, 4)), TensorType((2, 1), "int64"), TensorType((2, 1))))
        yield Sample(cls(0), (x, indices, updates), error="batch")
        yield Sample(cls(1), (x, indices, TensorType(("N", 2, 3))), error="updates")
        yield Sample(cls(1), (x, TensorType(("N", 1, 5), "int64"), updates), error="axis 2")


@dataclass(frozen=True)
class ScatterNd(_Scatter):
    """y = x, but the slices at the points in the last axis of ``indices`` become those of ``updates``."""

    name: ClassVar[str] = "scatter_nd"
    combine: Combine = "none"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, indices, updates = types
        depth = check.number(indices.shape[-1], indices) if indices.rank else 0
        if not 1 <= depth <= x.rank:
            raise ShapeError(f"scatter_nd has {depth} indices a point for {x}")
        for axis in range(depth):
            check.extent(axis, x, self.name)
        _check(x, indices, updates, (*indices.shape[:-1], *x.shape[depth:]), self.name)
        return (x,)

    def places(self, indices: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        return gather.points(indices, shape, 0, self.name)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        table, rows = TensorType((4, 5, 3)), TensorType((1, 1), "int64")
        yield Sample(cls(), (table, rows, TensorType((1, 5, 3))), note="a slice")
        yield Sample(cls(), (table, TensorType((1, 2), "int32"), TensorType((1, 3))))
        for combine in ("add", "mul", "max", "min"):
            several = (TensorType((6, 2), "int64"), TensorType((6, 3)))
            yield Sample(cls(combine), (table, *several), note=f"{combine}, several at one place")
        yield Sample(cls(), (TensorType(("N", 4)), rows, TensorType((1, 4))), error="batch")
        yield Sample(cls(), (table, rows, TensorType((1, 5))), error="updates")
        yield Sample(cls(), (table, TensorType((1, 4), "int64"), TensorType((1,))), error="4 indices")
