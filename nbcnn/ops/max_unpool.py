"""The partial inverse of max pooling (ONNX MaxUnpool): each maximum back in its place, zeros elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, window
from nbcnn.ops.pool import MaxPool


@dataclass(frozen=True)
class MaxUnpool(Op):
    """Undoes a max_pool of these attributes, whose results are the operands: maxima, and where they stood.

    Places count in an operand of (n - 1) * stride - padding + kernel points along each axis.
    ``output_shape`` names larger extents of the result: zeros behind each axis.
    """

    name: ClassVar[str] = "max_unpool"
    operands: ClassVar[tuple[str, ...]] = ("x", "places")
    kernel: window.Numbers
    stride: window.PoolStride = window.AS_KERNEL
    padding: window.Numbers = (0, 0, 0, 0)
    output_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        pool = MaxPool(self.kernel, self.stride, self.padding)
        for field in ("kernel", "stride", "padding"):
            object.__setattr__(self, field, getattr(pool, field))
        if self.output_shape is not None:
            object.__setattr__(self, "output_shape", tuple(int(n) for n in self.output_shape))

    def plane(self, x: TensorType) -> tuple[int, ...]:
        """The extents that places count in."""
        _, _, size = window.plane(x, self.name)
        at = MaxPool(self.kernel, self.stride, self.padding).at(x)
        axes = zip(size, at.stride, at.kernel, at.pads[: len(size)], at.pads[len(size) :], strict=True)
        found = tuple((n - 1) * s + k - before - after for n, s, k, before, after in axes)
        if min(found) < 1:
            raise ShapeError(f"{self.name} of {x} leaves nothing: {found}")
        return found

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, places = types
        check.floating(x, self.name)
        plane = self.plane(x)
        if places != TensorType(x.shape, "int64"):
            raise ShapeError(f"{self.name} takes an int64 place for each element of {x}, got {places}")
        out = plane if self.output_shape is None else self.output_shape
        if len(out) != len(plane) or any(n < m for n, m in zip(out, plane, strict=True)):
            raise ShapeError(f"output_shape must be at least {list(plane)}, got {list(out)}")
        return (TensorType((*x.shape[:2], *out), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, places = arrays
        plane = self.plane(TensorType(x.shape))
        flat = np.zeros(math.prod((*x.shape[:2], *plane)), x.dtype)
        flat[places.reshape(-1)] = x.reshape(-1)
        y = flat.reshape(*x.shape[:2], *plane)
        more = [(0, n - m) for n, m in zip(self.output_shape or plane, plane, strict=True)]
        return (np.pad(y, [(0, 0), (0, 0), *more]),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return self.reference(bounds[0], arrays[1])

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def operands(*shape: int) -> tuple[TensorType, ...]:
            return TensorType(("N", *shape)), TensorType(("N", *shape), "int64")

        ranges = ((-2.0, 2.0), (0, 15))
        yield Sample(cls(2), operands(2, 3, 2), ranges=ranges)
        yield Sample(cls(3, 2, 1), operands(2, 3, 3), note="overlapping", ranges=ranges)
        yield Sample(cls(2, output_shape=(5, 6)), operands(2, 2, 2), note="larger", ranges=ranges)
        yield Sample(cls(3), operands(3, 4), note="signals", ranges=ranges)
        yield Sample(cls(2), operands(2, 2, 1, 2), note="volumes", ranges=ranges)
        yield Sample(cls(2, output_shape=(3, 4)), operands(2, 2, 2), error="at least [4, 4]")
        yield Sample(cls(2), (TensorType(("N", 2, 2)), TensorType(("N", 2, 3), "int64")), error="place")
        yield Sample(cls(2), (TensorType(("N", 4)),) * 2, error="images")
