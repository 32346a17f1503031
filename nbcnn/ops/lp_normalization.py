"""Division by the 1-norm or 2-norm along an axis (ONNX LpNormalization).

y = x / |x|_p, and 0 where that norm is 0
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, rounding


@dataclass(frozen=True)
class LpNormalization(Op):
    """Makes the ``p``-norm along ``axis`` 1."""

    name: ClassVar[str] = "lp_normalization"
    axis: int = -1
    p: Literal[1, 2] = 2

    def __post_init__(self) -> None:
        if self.p not in (1, 2):
            raise ShapeError(f"p must be 1 or 2, got {self.p}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        check.floating(types[0], self.name)
        check.axis(self.axis, types[0], self.name)
        return types

    def _norm(self, x: np.ndarray) -> np.ndarray:
        if self.p == 1:
            return abs(x).sum(self.axis, keepdims=True)
        return np.sqrt(np.square(x).sum(self.axis, keepdims=True))

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        norm = self._norm(x)
        return (x / np.where(norm == 0, norm.dtype.type(1), norm),)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return inputs[0].extents()[self.axis]

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # The norm moves by at most the norm of what its operands move by; no element of y exceeds 1.
        (x,), (e,) = arrays, bounds
        norm, s = self._norm(x), self._norm(e)
        size = abs(self.reference(x)[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            carried = np.where(norm > s, (e + size * s) / (norm - s), 2.0 * (s > 0))
        carried = np.minimum(carried, 2)
        terms = self.reduction([TensorType(x.shape)]) + rounding.FEW
        return (carried + rounding.gamma(terms, u) * (size + carried),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 3, 7)),))
        yield Sample(cls(1), (TensorType(("N", 20, 3, 2)),), note="channels")
        yield Sample(cls(1, 1), (TensorType(("N", 6)),), note="sums of sizes")
        yield Sample(cls(3), (TensorType(("N", 6)),), error="axis 3")
        yield Sample(cls(), (TensorType(("N", 6), "int32"),), error="floats")
