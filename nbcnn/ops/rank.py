"""Which elements are the largest along one axis (ONNX ArgMax, ArgMin, TopK)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType, is_float
from nbcnn.ops import check


@dataclass(frozen=True)
class _Arg(Op):
    axis: int
    keepdims: bool = True
    last: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check.kinds(x, self.name, check.NUMBERS)
        axis = check.axis(self.axis, x, self.name)
        if not check.extent(axis, x, self.name):
            raise ShapeError(f"{self.name} along the empty axis {axis} of {x}")
        kept = [1 if i == axis else d for i, d in enumerate(x.shape) if self.keepdims or i != axis]
        return (TensorType(tuple(kept), "int64"),)

    def order(self, x: np.ndarray) -> np.ndarray:
        """Numbers of which the largest are sought."""
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = self.order(arrays[0])
        if self.last:
            x = np.flip(x, self.axis)
        found = np.asarray(x.argmax(self.axis, keepdims=self.keepdims), np.int64)
        return (x.shape[self.axis] - 1 - found if self.last else found,)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # Any element that may reach what the largest has at least may be found instead of it.
        x, e = self.order(arrays[0]), bounds[0]
        (found,) = self.reference(*arrays)
        rivals = x + e > (x - e).max(self.axis, keepdims=True)
        along = [-1 if i == self.axis % x.ndim else 1 for i in range(x.ndim)]
        place = np.arange(x.shape[self.axis]).reshape(along)
        away = abs(place - (found if self.keepdims else np.expand_dims(found, self.axis)))
        return (np.where(rivals, away, 0).max(self.axis, keepdims=self.keepdims).astype(np.float64),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        image = (TensorType(("N", 5, 3, 4)),)
        yield Sample(cls(1), image, note="the class of each point")
        yield Sample(cls(-1, False), image)
        yield Sample(cls(0, last=True), (TensorType((9, 2), "int32"),), note="the last of equal ones")
        yield Sample(cls(0, False), (TensorType((6,), "uint8"),), note="to a scalar")
        yield Sample(cls(0), image, error="batch")
        yield Sample(cls(4), image, error="axis 4")
        yield Sample(cls(1), (TensorType(("N", 0)),), error="empty")
        yield Sample(cls(1), (TensorType(("N", 3), "bool"),), error="floats")


@dataclass(frozen=True)
class ArgMax(_Arg):
    """The index of the largest element along ``axis``: of equal ones the first, or the ``last``."""

    name: ClassVar[str] = "arg_max"

    def order(self, x: np.ndarray) -> np.ndarray:
        return x


@dataclass(frozen=True)
class ArgMin(_Arg):
    """The index of the smallest element along ``axis``: of equal ones the first, or the ``last``."""

    name: ClassVar[str] = "arg_min"

    def order(self, x: np.ndarray) -> np.ndarray:
        return -x if is_float(x.dtype) else ~x  # the complement turns the order of integers round


@dataclass(frozen=True)
class TopK(Op):
    """The ``k`` largest elements along ``axis``, descending, and their indices; of equal ones the first.

    ``largest: false``: the smallest, in ascending order.
    """

    name: ClassVar[str] = "top_k"
    k: int
    axis: int = -1
    largest: bool = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check.kinds(x, self.name, check.NUMBERS)
        axis = check.axis(self.axis, x, self.name)
        if not 0 <= self.k <= check.extent(axis, x, self.name):
            raise ShapeError(f"top_k of {self.k} elements along axis {axis} of {x}")
        shape = (*x.shape[:axis], self.k, *x.shape[axis + 1 :])
        return TensorType(shape, x.dtype), TensorType(shape, "int64")

    def _order(self, x: np.ndarray) -> np.ndarray:
        """Indices that sort x along the axis, equal elements in their order."""
        if not self.largest:
            return x.argsort(self.axis, kind="stable")
        last = x.shape[self.axis] - 1
        return last - np.flip(np.flip(x, self.axis).argsort(self.axis, kind="stable"), self.axis)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        found = self._order(x).take(np.arange(self.k), self.axis).astype(np.int64)
        return np.take_along_axis(x, found, self.axis), found

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # The k-th of numbers that each move by e at most moves by e at most; its index may be any other's
        # where a neighbour in the order is no further than twice that.
        (x,), (e,) = arrays, bounds
        off = e.max(self.axis, keepdims=True, initial=0)
        (found,) = self.reference(x)[1:]
        ordered = np.take_along_axis(x, self._order(x), self.axis).astype(np.float64)
        gaps = abs(np.diff(ordered, axis=self.axis)) <= 2 * off
        edge = np.zeros_like(gaps.take([0], self.axis)) if gaps.size else np.zeros(off.shape, bool)
        near = np.concatenate([gaps, edge], self.axis) | np.concatenate([edge, gaps], self.axis)
        unsure = near.take(np.arange(self.k), self.axis) & (off > 0)
        values = np.broadcast_to(off, found.shape).astype(np.float64)
        return values, np.where(unsure, x.shape[self.axis] - 1.0, 0.0)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        rows = (TensorType(("N", 9)),)
        yield Sample(cls(3), rows)
        yield Sample(cls(9, largest=False), rows, note="all, ascending")
        yield Sample(cls(2, 1), (TensorType(("N", 5, 3)),), note="channels")
        yield Sample(cls(4, 0), (TensorType((7,), "uint8"),), note="equal ones")
        yield Sample(cls(1), (TensorType(("N", 1)),), note="one of one")
        yield Sample(cls(10), rows, error="10 elements")
        yield Sample(cls(1, 0), rows, error="batch")
