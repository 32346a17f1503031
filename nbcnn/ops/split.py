"""Division of one operand along an axis, not the batch ``N`` (ONNX Split): the reverse of a concatenation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check


@dataclass(frozen=True)
class Split(Op):
    """One output for each number of ``sizes``: so many channels (``axis`` 1), in order."""

    name: ClassVar[str] = "split"
    sizes: tuple[int, ...]
    axis: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        if not self.sizes:
            raise ShapeError("split needs at least one size")
        if min(self.sizes) < 0:
            raise ShapeError(f"sizes must not be negative, got {list(self.sizes)}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        axis = check.axis(self.axis, x, self.name)
        if sum(self.sizes) != check.extent(axis, x, self.name):
            raise ShapeError(f"sizes {list(self.sizes)} do not add up to axis {axis} of {x}")
        return tuple(TensorType((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype) for n in self.sizes)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.split(arrays[0], list(accumulate(self.sizes[:-1])), axis=self.axis))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        image = (TensorType(("N", 21, 3, 4)),)
        yield Sample(cls((21,)), image, note="one part")
        yield Sample(cls((1, 17, 3)), image, note="odd channel counts")
        yield Sample(cls((16, 5)), image)
        yield Sample(cls((1, 2), 2), image)
        yield Sample(cls((1, 3), -1), image)
        yield Sample(cls((3, 4)), (TensorType(("N", 7)),))
        yield Sample(cls((2, 0, 1), 0), (TensorType((3, 4), "int32"),), note="no batch, an empty part")
        yield Sample(cls((3, 4)), image, error="add up")
        yield Sample(cls((1, 1), 0), image, error="batch")
        yield Sample(cls((2, 2), 4), image, error="axis 4")
