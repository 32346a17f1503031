"""Softmax along one axis (ONNX Softmax): y = exp(x - max) / sum of exp(x - max)."""

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
class Softmax(Op):
    """Turns scores along ``axis`` (the last, as in ONNX) into shares that sum to 1."""

    name: ClassVar[str] = "softmax"
    axis: int = -1

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check.floating(x, self.name)
        axis = check.axis(self.axis, x, self.name)
        if axis == 0:
            raise ShapeError(f"softmax along axis {self.axis} of {x} would mix the batch")
        if check.number(x.shape[axis], x) < 1:
            raise ShapeError(f"softmax along the empty axis {axis} of {x}")
        return (x,)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        y = np.exp(x - x.max(axis=self.axis, keepdims=True))
        return (y / y.sum(axis=self.axis, keepdims=True),)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return int(inputs[0].shape[self.axis])

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # An absolute error t of an exponent is a relative error exp(t) - 1 of its exponential. The
        # exponent d = max - x carries the operands' errors twice and one rounding, u*d; the sum
        # averages the errors of its terms.
        (x,), (e,) = arrays, bounds
        (y,) = self.reference(x)
        off = 2 * e.max(axis=self.axis, keepdims=True)
        off = off + u * (x.max(axis=self.axis, keepdims=True) - x + off)
        off = off + (y * off).sum(axis=self.axis, keepdims=True)
        return (y * (np.expm1(off) + rounding.gamma(x.shape[self.axis] + 2 * rounding.FEW, u)),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 10)),))
        yield Sample(cls(), (TensorType(("N", 1)),))
        yield Sample(cls(1), (TensorType(("N", 5, 3, 4)),), note="over channels")
        yield Sample(cls(), (TensorType(("N", 1000)),))
        yield Sample(cls(0), (TensorType(("N", 10)),), error="batch")
        yield Sample(cls(2), (TensorType(("N", 10)),), error="axis 2")
        yield Sample(cls(), (TensorType(("N", 10), "int32"),), error="floats")
