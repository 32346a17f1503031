"""Numbers as small integers and back (ONNX QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear).

A quantised value q stands for (q - zero_point) * scale. Scale and zero point are one number for all, one for
each index of an axis, or one for each block of ``block_size`` elements along it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import BATCH, PACKED, TensorType
from nbcnn.ops import check, rounding

QUANTISED = ("uint8", "int8", "uint16", "int16", *PACKED)
"""What numbers are quantised to; int32, the sum of products of such, is only turned back."""


def saturated(r: np.ndarray, zero_point: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``r`` to the nearest integer (halves: even), plus ``zero_point``, cut to what ``dtype`` holds.

    To the nearest number of a small float ``dtype``.
    """
    low, high = _limits(dtype)
    wide = np.asarray(r, np.float64)
    wide = (wide if dtype.name.startswith("float") else wide.round()) + zero_point.astype(np.float64)
    return wide.clip(low, high).astype(np.float32 if dtype.name in PACKED else np.float64).astype(dtype)


def _limits(dtype: np.dtype) -> tuple[float, float]:
    """The least and the greatest number of a dtype of `QUANTISED`."""
    if dtype.name not in PACKED:
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    import ml_dtypes

    info = ml_dtypes.finfo(dtype) if dtype.name.startswith("float") else ml_dtypes.iinfo(dtype)
    return float(info.min), float(info.max)


def _apart(x: np.ndarray, zero_point: np.ndarray) -> np.ndarray:
    """``x`` minus ``zero_point``, exactly."""
    wide = np.float64 if x.dtype.name.startswith("float") else np.int64
    return x.astype(wide) - zero_point.astype(wide)


def saturated_error(r: np.ndarray, off: np.ndarray, zero_point: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """How far `saturated` moves at most when ``r`` moves by ``off``: it never falls when r grows."""
    here, low, high = (saturated(v, zero_point, dtype).astype(np.float64) for v in (r, r - off, r + off))
    return np.maximum(here - low, high - here)


def quotient_error(x: np.ndarray, e: np.ndarray, s: np.ndarray, f: np.ndarray, u: float) -> np.ndarray:
    """How far x / s is off when x is off by ``e``, s by ``f`` and the result is rounded."""
    left = np.where(abs(s) > f, abs(s) - f, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = abs(x / s)
        moved = np.where((e == 0) & (f == 0), 0.0, np.where(left > 0, (e + size * f) / left, np.inf))
    return moved + rounding.gamma(2, u) * (size + moved)


def _beside(scale: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    """A scale or zero point with an element, or 1 of an axis, beside each of an operand of ``shape``."""
    if scale.size == 1:
        return scale.reshape(())
    axis %= len(shape)
    if block:
        return scale.take(np.arange(shape[axis]) // block, axis)
    return scale.reshape((-1,) + (1,) * (len(shape) - axis - 1))


@dataclass(frozen=True)
class _Linear(Op):
    axis: int = 1
    block_size: int = 0

    def __post_init__(self) -> None:
        if self.block_size < 0:
            raise ShapeError(f"block_size must not be negative, got {self.block_size}")

    def accept(self, x: TensorType, scale: TensorType, zero_point: TensorType) -> None:
        """Raise ShapeError unless the three go together."""
        check.floating(scale, self.name)
        single = scale.shape in ((), (1,))
        if scale.shape != zero_point.shape and not (single and zero_point.shape in ((), (1,))):
            raise ShapeError(f"{self.name}: scale {scale} and zero point {zero_point} differ in shape")
        if single and not self.block_size:
            return
        axis = check.axis(self.axis, x, self.name)
        extent = check.extent(axis, x, self.name)
        blocks = -(-extent // self.block_size) if self.block_size else extent
        wanted = (*x.shape[:axis], blocks, *x.shape[axis + 1 :]) if self.block_size else (extent,)
        if scale.shape != wanted or BATCH in wanted:
            want = TensorType(wanted, scale.dtype)
            raise ShapeError(f"{self.name}: the scale should be one number or {want} for {x}, got {scale}")

    def _parts(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """x, and what stands beside it of the other arrays."""
        x, *others = arrays
        return x, *(_beside(a, x.shape, self.axis, self.block_size) for a in others)


def _samples(cls: Any, x: str, zero_point: str, low: float, high: float) -> Iterator[Sample]:
    def types(*scale: int, shape: tuple = ("N", 3, 4, 5)) -> tuple[TensorType, ...]:
        return TensorType(shape, x), TensorType(scale), TensorType(scale, zero_point)

    ranges = ((low, high), (0.05, 0.3), (0, 3))
    yield Sample(cls(), types(), ranges=ranges)
    yield Sample(cls(), types(3), note="for each channel", ranges=ranges)
    yield Sample(cls(-1), types(5), note="for each column", ranges=ranges)
    yield Sample(cls(0, 2), types(3, 4, shape=(5, 4)), note="blocks, the last cut short", ranges=ranges)
    yield Sample(cls(), types(4), error="scale should be")
    yield Sample(cls(0), types(2), error="batch")
    yield Sample(cls(), (*types()[:2], TensorType((3,), zero_point)), error="differ")


@dataclass(frozen=True)
class QuantizeLinear(_Linear):
    """round(x / scale) + zero_point, cut to what the zero point's dtype holds; halves go to the even one."""

    name: ClassVar[str] = "quantize_linear"
    operands: ClassVar[tuple[str, ...]] = ("x", "scale", "zero_point")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, _, zero_point = types
        if check.kind(x) != "f" and x.dtype != "int32":
            raise ShapeError(f"quantize_linear takes floats or int32, got {x}")
        if zero_point.dtype not in QUANTISED:
            raise ShapeError(f"quantize_linear makes {', '.join(QUANTISED)}, not {zero_point.dtype}")
        self.accept(*types)
        return (TensorType(x.shape, zero_point.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, scale, zero_point = self._parts(*arrays)
        return (saturated(x / scale, zero_point, zero_point.dtype),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        x, scale, zero_point = self._parts(*arrays)
        e, f, _ = self._parts(*bounds)
        off = quotient_error(x, e, scale, f, u)
        return (saturated_error(x / scale, off, zero_point, zero_point.dtype),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from _samples(cls, "float32", "uint8", -4, 9)
        x, scale = TensorType(("N", 3)), TensorType(())
        for dtype in ("int8", "uint16", "int16"):
            ranges = ((-9, 9), (0.05, 0.3), (0, 3))
            yield Sample(cls(), (x, scale, TensorType((), dtype)), note=dtype, ranges=ranges)
        yield Sample(cls(), (x, scale, TensorType((), "int32")), error="makes")
        yield Sample(cls(), (TensorType(("N", 3), "uint8"), scale, TensorType((), "uint8")), error="floats")


@dataclass(frozen=True)
class DequantizeLinear(_Linear):
    """(x - zero_point) * scale, in the scale's dtype."""

    name: ClassVar[str] = "dequantize_linear"
    operands: ClassVar[tuple[str, ...]] = ("x", "scale", "zero_point")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, scale, zero_point = types
        if x.dtype not in (*QUANTISED, "int32") or x.dtype != zero_point.dtype:
            known = ", ".join((*QUANTISED, "int32"))
            raise ShapeError(f"dequantize_linear takes {known} and a zero point alike, got {x}, {zero_point}")
        self.accept(*types)
        return (TensorType(x.shape, scale.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, scale, zero_point = self._parts(*arrays)
        return (_apart(x, zero_point).astype(scale.dtype) * scale,)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        x, scale, zero_point = self._parts(*arrays)
        (f,) = self._parts(arrays[0], bounds[1])[1:]
        size = abs(_apart(x, zero_point)).astype(np.float64)
        return (size * (f + rounding.gamma(2, u) * (abs(scale) + f)),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from _samples(cls, "uint8", "uint8", 0, 255)
        x, scale = TensorType(("N", 3), "int8"), TensorType(())
        for dtype in ("int8", "uint16", "int16", "int32"):
            ranges = ((0, 99), (0.05, 0.3), (0, 3))
            types = (TensorType(("N", 3), dtype), scale, TensorType((), dtype))
            yield Sample(cls(), types, note=dtype, ranges=ranges)
        yield Sample(cls(), (x, scale, TensorType((), "uint8")), error="alike")
        yield Sample(cls(), (TensorType(("N", 3)), scale, TensorType(())), error="takes")


@dataclass(frozen=True)
class DynamicQuantizeLinear(Op):
    """x as uint8, with the scale and zero point that its smallest and largest element (or 0) ask for.

    Three results: the quantised x, its scale (1 / 255 for nothing but zeros) and its zero point.
    """

    name: ClassVar[str] = "dynamic_quantize_linear"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check.floating(x, self.name)
        for axis in range(x.rank):
            if not check.extent(axis, x, self.name):
                raise ShapeError(f"dynamic_quantize_linear of nothing, {x}")
        return TensorType(x.shape, "uint8"), TensorType((), x.dtype), TensorType((), "uint8")

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        low, high = np.minimum(x.min(), 0), np.maximum(x.max(), 0)
        scale = np.asarray((high - low if high > low else x.dtype.type(1)) / x.dtype.type(255))
        zero_point = np.rint((-low / scale).clip(0, 255)).astype(np.uint8)
        return saturated(x / scale, zero_point, np.dtype(np.uint8)), scale, np.asarray(zero_point)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        (x,), (e,) = arrays, bounds
        _, scale, zero_point = self.reference(x)
        most = e.max()
        f = 2 * most / 255 + rounding.gamma(2, u) * (scale + 2 * most / 255)
        low = np.minimum(x.min(), 0)
        no_zero, uint8 = np.zeros((), np.uint8), np.dtype(np.uint8)
        moved = saturated_error(-low / scale, quotient_error(low, most, scale, f, u), no_zero, uint8)
        off = quotient_error(x, e, scale, f, u)
        return saturated_error(x / scale, off, zero_point, uint8) + moved, f, moved

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType((3, 4)),))
        yield Sample(cls(), (TensorType((5,)),), note="all positive", ranges=((1, 4),))
        yield Sample(cls(), (TensorType((2, 3)),), note="all negative", ranges=((-4, -1),))
        yield Sample(cls(), (TensorType(("N", 3)),), error="batch")
        yield Sample(cls(), (TensorType((0, 3)),), error="nothing")
