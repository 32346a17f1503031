"""Constant padding of the plane (ONNX Pad of the two last axes, mode constant).

y[n, c, i, j] = x[n, c, i - top, j - left], and ``value`` outside the image
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import window


@dataclass(frozen=True)
class Pad(Op):
    """Puts rows and columns of ``value`` around each plane; it may be minus infinity, for a maximum."""

    name: ClassVar[str] = "pad"
    padding: window.Margins
    value: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", window.margins(self.padding))
        object.__setattr__(self, "value", float(self.value))
        if math.isnan(self.value):
            raise ShapeError("value must be a number, got nan")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        n, c, h, w = window.image(types[0], self.name)
        top, left, bottom, right = self.padding
        return (TensorType((n, c, h + top + bottom, w + left + right), types[0].dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        top, left, bottom, right = self.padding
        around = ((0, 0), (0, 0), (top, bottom), (left, right))
        return (np.pad(arrays[0], around, constant_values=self.value),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return replace(self, value=0.0).reference(*bounds)  # the padding itself is never off

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def image(c: int, h: int, w: int) -> tuple[TensorType, ...]:
            return (TensorType(("N", c, h, w)),)

        yield Sample(cls(1), image(3, 4, 5))
        yield Sample(cls((0, 1, 2, 3)), image(2, 3, 3), note="uneven")
        yield Sample(cls((2, 0), -1.5), image(20, 3, 2), note="rows of a number")
        yield Sample(cls(0), image(2, 3, 3), note="identity")
        yield Sample(cls(1), (TensorType(("N", 4)),), error="images")
        yield Sample(cls(1), (TensorType(("N", 2, "H", 4)),), error="bound")
