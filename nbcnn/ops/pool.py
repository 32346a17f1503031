"""Pooling: the maximum or the mean of each window, or of each whole plane.

ONNX MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool. Padding reads as minus infinity for a
maximum; a mean counts it or not (``count_include_pad``), and never counts what lies beyond it, where
``ceil_mode`` lets the last window hang over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import rounding, window

MOST_WINDOWS = 1 << 24
"""Along one axis: far beyond any image, and small enough to look at each of them."""


class _Window(Op):
    """What max and average pooling share; both are frozen dataclasses with these fields."""

    kernel: window.Pair
    stride: window.PoolStride
    padding: window.Padding
    dilation: window.Pair = (1, 1)
    ceil_mode: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "stride", self.kernel if self.stride is window.AS_KERNEL else self.stride)
        for field in ("kernel", "stride", "dilation"):
            object.__setattr__(self, field, window.pair(getattr(self, field)))
            window.positive(field, getattr(self, field))
        object.__setattr__(self, "padding", window.normal_padding(self.padding))

    def pads(self, x: TensorType) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) for input type ``x``; ceil_mode may read beyond them."""
        _, _, h, w = window.image(x, self.name)
        return window.pads(self.padding, (h, w), self.kernel, self.stride, self.dilation)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        n, c, h, w = window.image(types[0], self.name)
        pads = self.pads(types[0])
        out = window.output_size((h, w), pads, self.kernel, self.stride, self.dilation, self.ceil_mode)
        for i, axis in enumerate(("height", "width")):
            if out[i] > MOST_WINDOWS:
                raise ShapeError(f"{self.name} has {out[i]:,} windows along the {axis}: too many")
            first = np.arange(out[i]) * self.stride[i] - pads[i]
            tap = np.maximum(-(first // self.dilation[i]), 0)  # the first that is not above or left
            if not ((tap < self.kernel[i]) & (first + tap * self.dilation[i] < (h, w)[i])).all():
                raise ShapeError(
                    f"a window of {self.name} would see nothing but padding along the {axis} of {types[0]}"
                )
        return (TensorType((n, c, *out), types[0].dtype),)

    def _taps(self, x: np.ndarray, beyond: float, padding: float) -> Iterator[np.ndarray]:
        """What each tap sees, [N, C, OH, OW], with the two fill values around the image."""
        top, left, bottom, right = self.pads(TensorType(x.shape))
        _, _, oh, ow = self.infer(TensorType(x.shape))[0].extents()
        out = (oh, ow)
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=padding)
        over = [
            max(
                (out[i] - 1) * self.stride[i] + self.dilation[i] * (self.kernel[i] - 1) + 1 - x.shape[i + 2],
                0,
            )
            for i in (0, 1)
        ]
        x = np.pad(x, ((0, 0), (0, 0), (0, over[0]), (0, over[1])), constant_values=beyond)
        for _, _, seen in window.taps(x, self.kernel, self.stride, self.dilation, out):
            yield seen


@dataclass(frozen=True)
class MaxPool(_Window):
    """The maximum of each window; ``stride`` defaults to the kernel."""

    name: ClassVar[str] = "max_pool"
    kernel: window.Pair
    stride: window.PoolStride = window.AS_KERNEL
    padding: window.Padding = (0, 0, 0, 0)
    dilation: window.Pair = (1, 1)
    ceil_mode: bool = False

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        taps = self._taps(arrays[0], beyond=-np.inf, padding=-np.inf)
        y = next(taps).copy()
        for seen in taps:
            np.maximum(y, seen, out=y)
        return (y,)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        yield Sample(cls(2, ceil_mode=True), _image(2, 5, 6), note="hangs over")
        yield Sample(cls(3, 2, 1), _image(3, 7, 8), note="ResNet")
        yield Sample(cls(3, 2), _image(2, 7, 6), note="AlexNet")
        yield Sample(cls(3, 2, 1, ceil_mode=True), _image(2, 6, 5))
        yield Sample(cls(2, 3, 1, ceil_mode=True), _image(2, 5, 5), note="last window would start in padding")
        yield Sample(cls((3, 2), (1, 2), "same"), _image(2, 5, 7))
        yield Sample(cls(3, 1, 2, dilation=2), _image(2, 6, 5))
        yield Sample(cls(2, 1, (0, 0, 1, 1)), _image(2, 4, 4), note="uneven padding")
        yield Sample(cls(1), _image(2, 3, 3), note="identity")
        yield Sample(cls(2), _image(20, 8, 8), note="several vectors")
        yield Sample(cls(5), _image(2, 4, 4), error="larger")
        yield Sample(cls(2, 1, 2), _image(2, 4, 4), error="padding")
        yield Sample(cls(2, 1, 1, dilation=2), _image(2, 1, 4), error="height")
        yield Sample(cls(2), (TensorType(("N", 4)),), error="images")
        yield Sample(cls(2), (TensorType(("N", 4, 4, "H")),), error="bound")


@dataclass(frozen=True)
class AvgPool(_Window):
    """The mean of each window; ``stride`` defaults to the kernel, padding is not counted by default."""

    name: ClassVar[str] = "avg_pool"
    kernel: window.Pair
    stride: window.PoolStride = window.AS_KERNEL
    padding: window.Padding = (0, 0, 0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = False

    def divisors(self, x: TensorType) -> np.ndarray:
        """How many elements each window averages, int64 [OH, OW]."""
        plane = np.ones((1, 1, *x.extents()[2:]), np.int64)
        taps = self._taps(plane, beyond=0, padding=int(self.count_include_pad))
        return np.sum(list(taps), axis=0)[0, 0]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        taps = self._taps(x, beyond=0, padding=0)
        y = next(taps).copy()
        for seen in taps:
            y += seen
        y /= self.divisors(TensorType(x.shape)).astype(x.dtype)
        return (y,)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return self.kernel[0] * self.kernel[1]

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # One rounding for the reciprocal of the divisor, one for the product with it.
        return rounding.multilinear(self, arrays, bounds, self.kernel[0] * self.kernel[1] + 1, u)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        yield Sample(cls(3, 2, 1, ceil_mode=True, count_include_pad=True), _image(2, 6, 5))
        yield Sample(cls(3, 2, 1, ceil_mode=True), _image(2, 6, 5))
        yield Sample(cls(3, 1, 1, count_include_pad=True), _image(3, 5, 6), note="Inception")
        yield Sample(cls(3, 2, 1), _image(3, 7, 8))
        yield Sample(cls(2, ceil_mode=True), _image(2, 5, 6), note="hangs over")
        yield Sample(cls(2, 3, 1, ceil_mode=True), _image(2, 5, 5), note="last window would start in padding")
        yield Sample(cls((3, 2), (1, 2), "same"), _image(2, 5, 7))
        yield Sample(cls(2), _image(20, 8, 8), note="several vectors")
        yield Sample(cls(7, 1), _image(5, 7, 7), note="whole plane")
        yield Sample(cls(5), _image(2, 4, 4), error="larger")
        yield Sample(cls(2, 1, 2), _image(2, 4, 4), error="padding")
        yield Sample(cls(2), (TensorType(("N", 4)),), error="images")
        yield Sample(cls(2), (TensorType(("N", 2, 4, 4), "int64"),), error="floats")


@dataclass(frozen=True)
class GlobalAvgPool(Op):
    """The mean of each plane: [N, C, H, W] to [N, C, 1, 1]."""

    name: ClassVar[str] = "global_avg_pool"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return _whole_plane(types[0], self.name)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].mean(axis=(2, 3), keepdims=True),)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return int(inputs[0].shape[2]) * int(inputs[0].shape[3])

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return rounding.multilinear(
            self, arrays, bounds, self.reduction([TensorType(arrays[0].shape)]) + 1, u
        )

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from _whole_plane_samples(cls())


@dataclass(frozen=True)
class GlobalMaxPool(Op):
    """The maximum of each plane: [N, C, H, W] to [N, C, 1, 1]."""

    name: ClassVar[str] = "global_max_pool"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return _whole_plane(types[0], self.name)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].max(axis=(2, 3), keepdims=True),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from _whole_plane_samples(cls())


def _whole_plane(x: TensorType, op: str) -> tuple[TensorType, ...]:
    n, c, h, w = window.image(x, op)
    if h < 1 or w < 1:
        raise ShapeError(f"{op} of an empty plane, {x}")
    return (TensorType((n, c, 1, 1), x.dtype),)


def _whole_plane_samples(op: Op) -> Iterator[Sample]:
    yield Sample(op, _image(3, 1, 1))
    yield Sample(op, _image(5, 7, 6))
    yield Sample(op, _image(20, 3, 9), note="several vectors")
    yield Sample(op, (TensorType(("N", 3, 4)),), error="images")


def _image(c: int, h: int, w: int) -> tuple[TensorType, ...]:
    return (TensorType(("N", c, h, w)),)
