"""Softmax along one axis and its kin (ONNX Softmax, LogSoftmax, Hardmax)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import BATCH, TensorType
from nbcnn.ops import check, rounding


class _AlongAxis(Op):
    """What compares the scores along one axis: each result is of the operand's type."""

    axis: int

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check.floating(x, self.name)
        axis = check.axis(self.axis, x, self.name)
        if x.shape[axis] == BATCH:
            raise ShapeError(f"{self.name} along axis {self.axis} of {x} would mix the batch")
        check.number(x.shape[axis], x)
        return (x,)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return max(int(inputs[0].shape[self.axis]), 1)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 10)),))
        yield Sample(cls(), (TensorType(("N", 1)),))
        yield Sample(cls(1), (TensorType(("N", 5, 3, 4)),), note="over channels")  # type: ignore[call-arg]
        yield Sample(cls(2), (TensorType(("N", 5, 3, 4)),), note="over rows")  # type: ignore[call-arg]
        yield Sample(cls(0), (TensorType((4, 5)),), note="no batch")  # type: ignore[call-arg]
        yield Sample(cls(), (TensorType(("N", 1000)),))
        yield Sample(cls(0), (TensorType(("N", 10)),), error="batch")  # type: ignore[call-arg]
        yield Sample(cls(2), (TensorType(("N", 10)),), error="axis 2")  # type: ignore[call-arg]
        yield Sample(cls(), (TensorType(("N", 10), "int32"),), error="floats")


def _below_top(x: np.ndarray, axis: int) -> np.ndarray:
    """x less the largest score along the axis, so that no exponential overflows."""
    return x - x.max(axis=axis, keepdims=True, initial=-np.inf) if x.size else x


@dataclass(frozen=True)
class Softmax(_AlongAxis):
    """Turns scores along ``axis`` (the last, as in ONNX) into shares: exp(x) / sum of exp(x)."""

    name: ClassVar[str] = "softmax"
    axis: int = -1

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        y = np.exp(_below_top(arrays[0], self.axis))
        return (y / y.sum(axis=self.axis, keepdims=True),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # An absolute error t of an exponent is a relative error exp(t) - 1 of its exponential. The
        # exponent d = max - x carries the operands' errors twice and one rounding, u*d; the sum
        # averages the errors of its terms.
        (x,), (e,) = arrays, bounds
        (y,) = self.reference(x)
        off = 2 * e.max(axis=self.axis, keepdims=True, initial=0)
        off = off + u * (off - _below_top(x, self.axis))
        off = off + (y * off).sum(axis=self.axis, keepdims=True)
        return (y * (np.expm1(off) + rounding.gamma(x.shape[self.axis] + 2 * rounding.FEW, u)),)


@dataclass(frozen=True)
class LogSoftmax(_AlongAxis):
    """The logarithm of the softmax: x - log(sum of exp(x)), along ``axis`` (the last)."""

    name: ClassVar[str] = "log_softmax"
    axis: int = -1

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        below = _below_top(arrays[0], self.axis)
        with np.errstate(divide="ignore"):  # no scores at all
            return (below - np.log(np.exp(below).sum(axis=self.axis, keepdims=True)),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # The logarithm of the sum moves by the mean of its terms' errors, weighted by their shares.
        # Roundings: one of each x - max, those of the sum, of its logarithm and of the last difference.
        (x,), (e,) = arrays, bounds
        below = _below_top(x, self.axis)
        (y,) = self.reference(x)
        off = e + e.max(axis=self.axis, keepdims=True, initial=0)
        depth = u * (off - below)
        share = np.exp(y)
        total = (share * np.expm1(depth)).sum(axis=self.axis, keepdims=True)
        total = total + rounding.gamma(x.shape[self.axis] + 2 * rounding.FEW, u)
        log = abs(y - below)
        return (off + depth + total + u * (rounding.FEW * log + abs(y) + off + total),)


@dataclass(frozen=True)
class Hardmax(_AlongAxis):
    """1 at the first of the largest scores along ``axis`` (the last), 0 elsewhere."""

    name: ClassVar[str] = "hardmax"
    axis: int = -1

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        y = np.zeros_like(x)
        if x.size:
            np.put_along_axis(y, x.argmax(axis=self.axis, keepdims=True), 1, axis=self.axis)
        return (y,)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        (x,), (e,) = arrays, bounds
        if not e.any():
            return (np.zeros(x.shape),)
        sure = (x - e).max(axis=self.axis, keepdims=True, initial=-np.inf)
        possible = x + e >= sure
        unsure = possible.sum(axis=self.axis, keepdims=True) > 1
        return ((possible & unsure).astype(np.float64),)
