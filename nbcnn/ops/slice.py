"""A regular part of an operand (ONNX Slice): y[i, ...] = x[start + i * step, ...] on each axis named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import Dim, TensorType
from nbcnn.ops import check

END = 2**63 - 1
"""An end that no axis reaches: up to the last element."""

if TYPE_CHECKING:
    Numbers = tuple[int, ...]
else:
    Numbers = tuple[int, ...] | None


@dataclass(frozen=True)
class Slice(Op):
    """Elements ``starts`` to before ``ends`` of ``axes``, every ``steps``-th (negative: backwards).

    Numbers mean what they mean in Python: negative ones count from the end, too large ones stand for
    the end. Without ``axes`` the first ones are meant, without ``steps`` every element. The batch can
    only be taken whole (start 0, an end of 2**31 - 1 or more).
    """

    name: ClassVar[str] = "slice"
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    axes: Numbers = None  # type: ignore[assignment]
    steps: Numbers = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        count = len(tuple(self.starts))
        axes = range(count) if self.axes is None else self.axes
        steps = (1,) * count if self.steps is None else self.steps
        for field, value in (("starts", self.starts), ("ends", self.ends), ("axes", axes), ("steps", steps)):
            object.__setattr__(self, field, tuple(int(v) for v in value))
            if len(getattr(self, field)) != count:
                raise ShapeError(f"{field} must be as many as starts, {count}, got {list(value)}")
        if 0 in self.steps:
            raise ShapeError(f"steps must not be 0, got {list(self.steps)}")

    def along(self, x: TensorType) -> dict[int, slice]:
        """The slice of each axis named, counted from the front; raises ShapeError for bad ones."""
        check.axes(self.axes, x, self.name)
        parts = zip(self.axes, self.starts, self.ends, self.steps, strict=True)
        return {axis % x.rank: slice(start, end, step) for axis, start, end, step in parts}

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        shape: list[Dim] = list(x.shape)
        for axis, part in self.along(x).items():
            whole = part.start == 0 and part.step == 1 and part.stop >= 2**31 - 1
            if not (whole and isinstance(x.shape[axis], str)):
                shape[axis] = len(range(*part.indices(check.extent(axis, x, self.name))))
        return (TensorType(tuple(shape), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        parts = self.along(TensorType(x.shape))
        return (x[tuple(parts.get(axis, slice(None)) for axis in range(x.ndim))].copy(),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        image = (TensorType(("N", 6, 5, 7)),)
        yield Sample(cls((1,), (4,), (1,)), image, note="channels")
        yield Sample(cls((0, 1), (-1, END), (2, -1), (2, 3)), image, note="every other row")
        yield Sample(cls((-1,), (-END,), (3,), (-1,)), image, note="mirrored")
        yield Sample(cls((4, -1), (0, 2), (2, 3), (-2, -3)), image, note="backwards in steps")
        yield Sample(cls((0, 2), (END, 3)), image, note="the batch whole, without axes")
        yield Sample(cls((0, -9), (END, 99), (0, 1)), image, note="beyond both ends")
        yield Sample(cls((1,), (3,)), (TensorType((4, 2), "int64"),), note="no batch")
        yield Sample(cls((1,), (2,), (4,)), image, error="axis 4")
        yield Sample(cls((1, 1), (2, 2), (1, -3)), image, error="twice")
        yield Sample(cls((1,), (2,), (0,)), image, error="batch")
        yield Sample(cls((1,), (2,), (2,)), (TensorType(("N", 2, "H")),), error="bound")
