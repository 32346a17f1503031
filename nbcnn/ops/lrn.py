"""Local response normalisation across channels (ONNX LRN; Krizhevsky, Sutskever, Hinton, 2012).

y[c] = x[c] / (bias + alpha / size * sum over k of x[k]^2) ^ beta

with k from c - floor((size - 1) / 2) to c + ceil((size - 1) / 2), as far as there are channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, rounding, window


@dataclass(frozen=True)
class Lrn(Op):
    """Divides by a power of the energy of ``size`` neighbouring channels of [N, C, ...]."""

    name: ClassVar[str] = "lrn"
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def __post_init__(self) -> None:
        window.positive("size", self.size)
        for field in ("alpha", "beta", "bias"):
            value = float(getattr(self, field))
            object.__setattr__(self, field, value)
            if not 0 <= value < np.inf or (field == "bias" and value == 0):
                least = "above 0" if field == "bias" else "from 0 on"
                raise ShapeError(f"{field} must be a number {least}, got {value}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        check.floating(types[0], self.name)
        if types[0].rank < 2:
            raise ShapeError(f"lrn takes [N, C, ...], got {types[0]}")
        check.number(types[0].shape[1], types[0])
        return types

    def energy(self, squares: np.ndarray) -> np.ndarray:
        """bias + alpha / size * sum of ``squares`` over neighbouring channels."""
        before, after = (self.size - 1) // 2, self.size // 2
        channels = squares.shape[1]
        total = np.zeros_like(squares)
        for shift in range(-before, after + 1):
            if abs(shift) < channels:
                to = slice(max(-shift, 0), channels - max(shift, 0))
                total[:, to] += squares[:, max(shift, 0) : channels - max(-shift, 0)]
        kind = squares.dtype.type
        return kind(self.bias) + kind(self.alpha / self.size) * total

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        return (x / self.energy(np.square(x)) ** x.dtype.type(self.beta),)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return self.size

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # The factor 1 / energy^beta falls with the energy: it lies between what the largest and the
        # smallest operands give. All terms of the energy are positive, so that its rounding is relative.
        (x,), (e,) = arrays, bounds
        high = self.energy(np.square(abs(x) + e)) ** -self.beta
        low = self.energy(np.square(np.maximum(abs(x) - e, 0))) ** -self.beta
        relative = (1 + self.beta) * rounding.gamma(self.size + 4, u) + rounding.gamma(2 * rounding.FEW, u)
        return (e * low + abs(x) * (low - high) + relative * (abs(x) + e) * low,)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        yield Sample(cls(5, bias=2.0), (TensorType(("N", 20, 3, 4)),), note="AlexNet")
        yield Sample(cls(3, 0.5, 0.5), (TensorType(("N", 7, 3, 3)),), note="strong")
        yield Sample(cls(7, 1.0, 1.0), (TensorType(("N", 40, 2, 2)),), note="three vectors")
        yield Sample(cls(9, 0.3, 1.3), (TensorType(("N", 4, 5)),), note="wider than the channels")
        yield Sample(cls(1), (TensorType(("N", 3, 2, 2, 2)),), note="each alone")
        yield Sample(cls(5), (TensorType(("N",)),), error="[N, C, ...]")
        yield Sample(cls(5), (TensorType(("N", "C", 3)),), error="bound")
        yield Sample(cls(5), (TensorType(("N", 3, 4, 4), "int64"),), error="floats")
