"""Sum and product of two operands, with NumPy's broadcasting (ONNX Add, Mul)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, rounding


class _Binary(Op):
    operands: ClassVar[tuple[str, ...]] = ("a", "b")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (check.broadcast(types[0], types[1], self.name),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return rounding.multilinear(self, arrays, bounds, 1, u)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        image = TensorType(("N", 5, 4, 3))
        yield Sample(cls(), (image, image))
        yield Sample(cls(), (image, TensorType(("N", 5, 1, 1))), note="squeeze and excitation")
        yield Sample(cls(), (TensorType(("N", 5, 1, 1)), image), note="the other way round")
        yield Sample(cls(), (image, TensorType((5, 1, 1))), note="constant per channel")
        yield Sample(cls(), (image, TensorType(())), note="scalar")
        yield Sample(cls(), (TensorType(("N", 7)), TensorType(("N", 7))))
        yield Sample(cls(), (image, TensorType(("N", 4, 4, 3))), error="axis 1")
        yield Sample(cls(), (image, TensorType((3, 5, 4, 3))), error="axis 0")
        yield Sample(cls(), (image, TensorType(("N",))), error="axis 3")
        yield Sample(cls(), (image, TensorType(("N", 5, 4, 3), "float64")), error="dtype")


@dataclass(frozen=True)
class Add(_Binary):
    """a + b."""

    name: ClassVar[str] = "add"

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0] + arrays[1],)


@dataclass(frozen=True)
class Mul(_Binary):
    """a * b, element by element."""

    name: ClassVar[str] = "mul"

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0] * arrays[1],)
