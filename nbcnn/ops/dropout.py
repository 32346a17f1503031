"""Dropout (ONNX Dropout): nothing at inference; training zeroes a share of the elements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType


@dataclass(frozen=True)
class Dropout(Op):
    """Passes its operand on; in training each element is dropped with probability ``rate``."""

    name: ClassVar[str] = "dropout"
    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ShapeError(f"rate must be from 0 to below 1, got {self.rate}")
        object.__setattr__(self, "rate", float(self.rate))

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (types[0],)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0],)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 7)),))
        yield Sample(cls(0), (TensorType(("N", 3, 4, 5)),))
