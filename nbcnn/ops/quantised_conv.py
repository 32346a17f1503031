"""Convolution of quantised operands (ONNX ConvInteger, QLinearConv): see `quantised_product`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, window
from nbcnn.ops.conv import Conv
from nbcnn.ops.conv1d import Conv1d
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.conv3d import Conv3d
from nbcnn.ops.quantise import saturated
from nbcnn.ops.quantised_product import BYTES, beside, bytes_only, floats_only, ratio, requantised_error

_CONVS: dict[int, Any] = {1: Conv1d, 2: Conv2d, 3: Conv3d}


@dataclass(frozen=True)
class _QuantisedConv(Op):
    stride: window.Numbers = 1  # type: ignore[assignment]
    padding: window.AnyPadding = 0  # type: ignore[assignment]
    dilation: window.Numbers = 1  # type: ignore[assignment]
    groups: int = 1

    def __post_init__(self) -> None:
        for field in ("stride", "padding", "dilation"):
            if isinstance(value := getattr(self, field), list):
                object.__setattr__(self, field, tuple(value))

    def conv(self, x: TensorType, w: TensorType) -> Conv:
        """The convolution of floats with the same window."""
        if w.rank != x.rank or w.rank - 2 not in _CONVS:
            raise ShapeError(f"{self.name} takes a weight [channels, C/groups, ...] for {x}, got {w}")
        channels, _, *kernel = (check.number(d, w) for d in w.shape)
        window_ = (tuple(kernel), self.stride, self.padding, self.dilation)
        return _CONVS[w.rank - 2](channels, *window_, self.groups, bias=False)

    def result(self, x: TensorType, w: TensorType, x_zero: TensorType, w_zero: TensorType) -> TensorType:
        """The type of the sums of products."""
        bytes_only(x, x_zero, self.name)
        bytes_only(w, w_zero, self.name)
        beside("x_zero_point", x_zero, x, (), self.name)
        beside("w_zero_point", w_zero, w, (w.shape[:1],), self.name)
        conv, floats = self.conv(x, w), TensorType(x.shape)
        (y,) = conv.infer(floats)
        if (want := conv.params(floats)["weight"].type.shape) != w.shape:
            raise ShapeError(f"{self.name} takes a weight {TensorType(want, w.dtype)} for {x}, got {w}")
        return TensorType(y.shape, "int32")

    def sums(self, x: np.ndarray, w: np.ndarray, x_zero: np.ndarray, w_zero: np.ndarray) -> np.ndarray:
        """The sums of products, in int32."""
        conv = self.conv(TensorType(x.shape), TensorType(w.shape))
        centred = x.astype(np.int32) - x_zero.astype(np.int32).reshape(())
        (y,) = conv.reference(centred, w.astype(np.int32) - per_filter(w_zero.astype(np.int32), w.ndim))
        return y

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements() * self.reduction(inputs)

    def weight(self, inputs: Sequence[TensorType]) -> TensorType:
        """The weight among the operands."""
        return inputs[self.operands.index("w")]

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return max(self.weight(inputs).elements() // max(int(self.weight(inputs).shape[0]), 1), 1)


def per_filter(value: np.ndarray, rank: int) -> np.ndarray:
    """One number, or one for each filter, so that it broadcasts with a weight of ``rank`` axes."""
    return value.reshape((-1,) + (1,) * (rank - 1)) if value.size > 1 else value.reshape(())


@dataclass(frozen=True)
class ConvInteger(_QuantisedConv):
    """Convolution of x - x_zero_point with w - w_zero_point in int32; padding is x's zero point."""

    name: ClassVar[str] = "conv_integer"
    operands: ClassVar[tuple[str, ...]] = ("x", "w", "x_zero_point", "w_zero_point")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (self.result(*types),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (self.sums(*arrays),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def types(w: tuple[int, ...], zero: tuple = (), shape: tuple = ("N", 4, 6, 5)) -> tuple:
            x, one = TensorType(shape, "uint8"), TensorType((), "uint8")
            return x, TensorType(w, "uint8"), one, TensorType(zero, "uint8")

        yield Sample(cls(), types((3, 4, 3, 3)))
        yield Sample(cls(2, "same", groups=2), types((6, 2, 3, 2)), note="grouped")
        yield Sample(cls((1, 2), (1, 0), 2), types((3, 4, 2, 2)), note="dilated")
        yield Sample(cls(padding=1), types((3, 4, 3), shape=("N", 4, 7)), note="a signal")
        yield Sample(cls(), types((3, 3, 3, 3)), error="takes a weight")
        yield Sample(cls(), types((3, 4, 3)), error="takes a weight")
        yield Sample(cls(), types((3, 4, 3, 3), (2,)), error="w_zero_point")


@dataclass(frozen=True)
class QLinearConv(_QuantisedConv):
    """Convolution of quantised operands, quantised; ``bias`` is int32, in units of x_scale * w_scale."""

    name: ClassVar[str] = "qlinear_conv"
    operands: ClassVar[tuple[str, ...]] = (
        *("x", "x_scale", "x_zero_point", "w", "w_scale", "w_zero_point", "y_scale", "y_zero_point", "bias"),
    )

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = types
        y = self.result(x, w, x_zero, w_zero)
        floats_only((x_scale, w_scale, y_scale), self.name)
        for name, got in (("x_scale", x_scale), ("y_scale", y_scale), ("y_zero_point", y_zero)):
            beside(name, got, y, (), self.name)
        beside("w_scale", w_scale, w, (w.shape[:1],), self.name)
        if bias != TensorType(w.shape[:1], "int32"):
            raise ShapeError(f"{self.name} takes a bias {TensorType(w.shape[:1], 'int32')}, got {bias}")
        if y_zero.dtype not in BYTES:
            raise ShapeError(f"{self.name} makes uint8 or int8, not {y_zero.dtype}")
        return (TensorType(y.shape, y_zero.dtype),)

    def _sums(self, *arrays: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """The sums of products with the bias, the three scales beside them, y's zero point."""
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = arrays
        sums = self.sums(x, w, x_zero, w_zero) + per_filter(bias, w.ndim - 1)
        return sums, self._scales(x_scale, w_scale, y_scale, w.ndim), y_zero.reshape(())

    def _scales(self, x: np.ndarray, w: np.ndarray, y: np.ndarray, rank: int) -> list[np.ndarray]:
        return [x.reshape(()), per_filter(w, rank - 1), y.reshape(())]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        sums, scales, zero_point = self._sums(*arrays)
        return (saturated(sums * ratio(scales), zero_point, zero_point.dtype),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        sums, scales, zero_point = self._sums(*arrays)
        off = self._scales(bounds[1], bounds[4], bounds[6], arrays[3].ndim)
        return (requantised_error(sums, scales, off, zero_point, u),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def types(w: tuple[int, ...], each: tuple = (), dtype: str = "uint8") -> tuple[TensorType, ...]:
            x, one, number = TensorType(("N", 4, 6, 5), dtype), TensorType(()), TensorType((), dtype)
            weight = (TensorType(w, "int8"), TensorType(each), TensorType(each, "int8"))
            return x, one, number, *weight, one, number, TensorType(w[:1], "int32")

        scale, zero = (0.05, 0.2), (0.0, 3.0)
        ranges = ((0.0, 30.0), scale, zero, (-6.0, 6.0), scale, zero, (0.2, 0.5), zero, (-50.0, 50.0))
        yield Sample(cls(), types((3, 4, 3, 3)), ranges=ranges)
        yield Sample(cls(2, "same", groups=2), types((6, 2, 3, 2), (6,)), note="per filter", ranges=ranges)
        yield Sample(cls(padding=1), types((3, 4, 3, 3), dtype="int8"), note="with a sign", ranges=ranges)
        yield Sample(cls(), types((3, 4, 3, 3), (2,)), error="w_zero_point")
        yield Sample(cls(), types((3, 5, 3, 3)), error="takes a weight")
        yield Sample(cls(), (*types((3, 4, 3, 3))[:8], TensorType((3,))), error="bias")
