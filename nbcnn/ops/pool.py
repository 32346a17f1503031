"""Pooling: the maximum or the mean of each window, or of each whole plane, over one to three axes.

ONNX MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool. Padding reads as minus infinity for a
maximum; a mean counts it or not (``count_include_pad``), and never counts what lies beyond it, where
``ceil_mode`` lets the last window hang over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType, is_float
from nbcnn.ops import check, rounding, window
from nbcnn.ops.pool_window import PoolWindow


@dataclass(frozen=True)
class MaxPool(PoolWindow):
    """The maximum of each window; ``stride`` defaults to the kernel.

    ``indices`` adds a second result, int64: where the first maximum of each window stands in the operand,
    counted over all of it, padding left out; each plane row by row, for ``storage_order`` 1 column by column.
    """

    name: ClassVar[str] = "max_pool"
    kernel: window.Numbers
    stride: window.PoolStride = window.AS_KERNEL
    padding: window.AnyPadding = (0, 0, 0, 0)
    dilation: window.Numbers = (1, 1)
    ceil_mode: bool = False
    indices: bool = False
    storage_order: Literal[0, 1] = 0

    def accept(self, x: TensorType) -> None:
        if x.dtype == "bool":
            raise ShapeError(f"{self.name} takes numbers, got {x}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (y,) = super().infer(*types)
        return (y, TensorType(y.shape, "int64")) if self.indices else (y,)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        low = -np.inf if is_float(x.dtype) else np.iinfo(x.dtype).min
        taps = self.taps(x, beyond=low, padding=low)
        if self.indices:
            return self._with_places(x, taps)
        y = next(taps).copy()
        for seen in taps:
            np.maximum(y, seen, out=y)
        return (y,)

    def _with_places(self, x: np.ndarray, taps: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        size, plane = x.shape[2:], math.prod(x.shape[2:])
        order = "C" if self.storage_order == 0 else "F"
        places = np.arange(plane).reshape(1, 1, *size, order=order)
        y, found = None, None
        for seen, place in zip(taps, self.taps(places, beyond=-1, padding=-1), strict=True):
            if y is None or found is None:
                y, found = seen.copy(), np.broadcast_to(place, seen.shape).copy()
                continue
            better = (seen > y) | ((found < 0) & (place >= 0)) | (np.isnan(seen) & ~np.isnan(y))
            np.copyto(y, seen, where=better)
            np.copyto(found, np.broadcast_to(place, seen.shape), where=better)
        assert y is not None and found is not None
        return y, found + plane * np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(size))

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        values = replace(self, indices=False).reference(*bounds)
        if not self.indices:
            return values
        return (*values, np.full(values[0].shape, arrays[0].size * float(bounds[0].any())))

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        yield Sample(cls(2, ceil_mode=True), _plane(2, 5, 6), note="hangs over")
        yield Sample(cls(3, 2, 1), _plane(3, 7, 8), note="ResNet")
        yield Sample(cls(3, 2), _plane(2, 7, 6), note="AlexNet")
        yield Sample(cls(3, 2, 1, ceil_mode=True), _plane(2, 6, 5))
        yield Sample(cls(2, 3, 1, ceil_mode=True), _plane(2, 5, 5), note="last window would start in padding")
        yield Sample(cls((3, 2), (1, 2), "same"), _plane(2, 5, 7))
        yield Sample(cls(3, 2, "same_lower"), _plane(2, 5, 6))
        yield Sample(cls(3, 1, 2, dilation=2), _plane(2, 6, 5))
        yield Sample(cls(2, 1, (0, 0, 1, 1)), _plane(2, 4, 4), note="uneven padding")
        yield Sample(cls(1), _plane(2, 3, 3), note="identity")
        yield Sample(cls(2), _plane(20, 8, 8), note="several vectors")
        yield Sample(cls(3, 2, 1), _plane(5, 9), note="signals")
        yield Sample(cls((4,), (2,), (2, 1), ceil_mode=True), _plane(3, 7), note="signals, uneven")
        yield Sample(cls(2), _plane(3, 4, 4, 6), note="volumes")
        yield Sample(cls((1, 3, 2), (1, 2, 2), (0, 1, 0)), _plane(3, 4, 5, 6), note="volumes, each image")
        yield Sample(cls(3, 2, 1, ceil_mode=True), _plane(17, 4, 5, 6), note="volumes, overlapping")
        yield Sample(cls((2, 1, 1), 1, dilation=(2, 1, 1)), _plane(3, 5, 2, 3), note="along time")
        yield Sample(cls(3, 2, 1, indices=True), _plane(2, 5, 6), note="with places")
        yield Sample(cls(2, indices=True, storage_order=1), _plane(2, 4, 5, 3), note="places by column")
        yield Sample(cls(5), _plane(2, 4, 4), error="larger")
        yield Sample(cls(2, 1, 2), _plane(2, 4, 4), error="padding")
        yield Sample(cls(2, 1, 1, dilation=2), _plane(2, 1, 4), error="height")
        yield Sample(cls((2, 1)), _plane(2, 4), error="2 axes")
        yield Sample(cls(2), (TensorType(("N", 4)),), error="images")
        yield Sample(cls(2), (TensorType(("N", 4, 4, "H")),), error="bound")
        yield Sample(cls(2), (TensorType(("N", 2, 4, 4), "bool"),), error="numbers")


@dataclass(frozen=True)
class AvgPool(PoolWindow):
    """The mean of each window; ``stride`` defaults to the kernel, padding is not counted by default."""

    name: ClassVar[str] = "avg_pool"
    kernel: window.Numbers
    stride: window.PoolStride = window.AS_KERNEL
    padding: window.AnyPadding = (0, 0, 0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = False
    dilation: window.Numbers = (1, 1)

    def divisors(self, x: TensorType) -> np.ndarray:
        """How many elements each window averages, int64 [*out]."""
        plane = np.ones((1, 1, *x.extents()[2:]), np.int64)
        taps = self.taps(plane, beyond=0, padding=int(self.count_include_pad))
        return np.sum(list(taps), axis=0)[0, 0]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        taps = self.taps(x, beyond=0, padding=0)
        y = next(taps).copy()
        for seen in taps:
            y += seen
        y /= self.divisors(TensorType(x.shape)).astype(x.dtype)
        return (y,)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return math.prod(self.at(inputs[0]).kernel)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # One rounding for the reciprocal of the divisor, one for the product with it: and both once
        # more where a volume is pooled plane by plane first.
        terms = self.reduction([TensorType(arrays[0].shape)]) + 1 + 2 * (arrays[0].ndim == 5)
        return rounding.multilinear(self, arrays, bounds, terms, u)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        yield Sample(cls(3, 2, 1, ceil_mode=True, count_include_pad=True), _plane(2, 6, 5))
        yield Sample(cls(3, 2, 1, ceil_mode=True), _plane(2, 6, 5))
        yield Sample(cls(3, 1, 1, count_include_pad=True), _plane(3, 5, 6), note="Inception")
        yield Sample(cls(3, 2, 1), _plane(3, 7, 8))
        yield Sample(cls(2, ceil_mode=True), _plane(2, 5, 6), note="hangs over")
        yield Sample(cls(2, 3, 1, ceil_mode=True), _plane(2, 5, 5), note="last window would start in padding")
        yield Sample(cls((3, 2), (1, 2), "same"), _plane(2, 5, 7))
        yield Sample(cls(2, 1, "same_lower"), _plane(2, 4, 5))
        yield Sample(cls(2, 1, 1, dilation=2), _plane(2, 5, 4), note="dilated")
        yield Sample(cls(2), _plane(20, 8, 8), note="several vectors")
        yield Sample(cls(7, 1), _plane(5, 7, 7), note="whole plane")
        yield Sample(cls(4, 2, 1), _plane(5, 9), note="signals")
        yield Sample(cls(3, 2, 1, ceil_mode=True, count_include_pad=True), _plane(3, 8), note="signals, over")
        yield Sample(cls(2), _plane(3, 4, 4, 6), note="volumes")
        yield Sample(cls(3, 2, 1, True, True), _plane(17, 4, 5, 6), note="volumes, overlapping")
        yield Sample(cls((2, 1, 3), 1, (1, 0, 1)), _plane(3, 3, 2, 4), note="volumes, uneven")
        yield Sample(cls(5), _plane(2, 4, 4), error="larger")
        yield Sample(cls(2, 1, 2), _plane(2, 4, 4), error="padding")
        yield Sample(cls((2, 1, 1)), _plane(2, 4, 4), error="3 axes")
        yield Sample(cls(2), (TensorType(("N", 4)),), error="images")
        yield Sample(cls(2), (TensorType(("N", 2, 4, 4), "int64"),), error="floats")


@dataclass(frozen=True)
class GlobalAvgPool(Op):
    """The mean of each plane: [N, C, H, W] to [N, C, 1, 1], and likewise with one axis or three."""

    name: ClassVar[str] = "global_avg_pool"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return whole_plane(types[0], self.name)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].mean(axis=tuple(range(2, arrays[0].ndim)), keepdims=True),)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return math.prod(int(d) for d in inputs[0].shape[2:])

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        terms = self.reduction([TensorType(arrays[0].shape)]) + 1
        return rounding.multilinear(self, arrays, bounds, terms, u)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from whole_plane_samples(cls())


@dataclass(frozen=True)
class GlobalMaxPool(Op):
    """The maximum of each plane: [N, C, H, W] to [N, C, 1, 1], and likewise with one axis or three."""

    name: ClassVar[str] = "global_max_pool"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return whole_plane(types[0], self.name)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].max(axis=tuple(range(2, arrays[0].ndim)), keepdims=True),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from whole_plane_samples(cls())


def whole_plane(x: TensorType, op: str) -> tuple[TensorType, ...]:
    """The result type of an operator that leaves one point of each plane."""
    n, c, size = window.plane(x, op)
    check.floating(x, op)
    if min(size) < 1:
        raise ShapeError(f"{op} of an empty plane, {x}")
    return (TensorType((n, c, *(1 for _ in size)), x.dtype),)


def whole_plane_samples(op: Op) -> Iterator[Sample]:
    """Samples of such an operator."""
    yield Sample(op, _plane(3, 1, 1))
    yield Sample(op, _plane(5, 7, 6))
    yield Sample(op, _plane(20, 3, 9), note="several vectors")
    yield Sample(op, _plane(5, 11), note="signals")
    yield Sample(op, _plane(5, 3, 4, 5), note="volumes")
    yield Sample(op, (TensorType(("N", 3)),), error="images")
    yield Sample(op, _plane(2, 0, 3), error="empty")


def _plane(*shape: int) -> tuple[TensorType, ...]:
    return (TensorType(("N", *shape)),)
