"""Sums up to each place, and triangles of matrices (ONNX CumSum, Trilu)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, rounding


@dataclass(frozen=True)
class CumSum(Op):
    """y[i] = x[0] + ... + x[i] along ``axis``; ``exclusive``: without x[i]; ``reverse``: from the end."""

    name: ClassVar[str] = "cum_sum"
    axis: int
    exclusive: bool = False
    reverse: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check.kinds(x, self.name, check.NUMBERS)
        check.extent(check.axis(self.axis, x, self.name), x, self.name)
        return (x,)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = np.flip(arrays[0], self.axis) if self.reverse else arrays[0]
        if self.exclusive and x.shape[self.axis]:
            moved = np.roll(x, 1, self.axis)
            first = [slice(None)] * x.ndim
            first[self.axis] = slice(1)
            moved[tuple(first)] = 0
            x = moved
        y = x.cumsum(self.axis, dtype=x.dtype)
        return (np.flip(y, self.axis).copy() if self.reverse else y,)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return max(int(inputs[0].shape[self.axis]), 1)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return rounding.multilinear(self, arrays, bounds, arrays[0].shape[self.axis], u)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        image = (TensorType(("N", 3, 4, 5)),)
        yield Sample(cls(1), image)
        yield Sample(cls(-1, exclusive=True), image, note="exclusive")
        yield Sample(cls(2, reverse=True), image, note="from the end")
        yield Sample(cls(0, True, True), (TensorType((6,), "int32"),), note="both, integers")
        yield Sample(cls(0), image, error="batch")
        yield Sample(cls(4), image, error="axis 4")


@dataclass(frozen=True)
class Trilu(Op):
    """Zeros below (``upper: false``: above) diagonal ``k`` of the matrices in the last two axes."""

    name: ClassVar[str] = "trilu"
    upper: bool = True
    k: int = 0

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        if x.rank < 2:
            raise ShapeError(f"trilu takes matrices, got {x}")
        for axis in (x.rank - 2, x.rank - 1):
            check.extent(axis, x, self.name)
        return (x,)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        size = max(x.shape[-2:])
        k = min(max(self.k, -size), size)  # NumPy takes no larger ones
        return (np.triu(x, k) if self.upper else np.tril(x, k),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        matrices = (TensorType(("N", 4, 5)),)
        yield Sample(cls(), matrices)
        yield Sample(cls(False), matrices, note="lower")
        yield Sample(cls(True, 9), matrices, note="nothing left")
        yield Sample(cls(False, -1), (TensorType((2, 3, 3), "int64"),), note="below the diagonal")
        yield Sample(cls(), (TensorType(("N", 4)),), error="batch")
        yield Sample(cls(), (TensorType(("N",)),), error="matrices")
