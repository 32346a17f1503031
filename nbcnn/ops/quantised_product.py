"""Products of quantised matrices (ONNX MatMulInteger, QLinearMatMul), and what convolution has in common.

The integer ones sum (a - a_zero_point) * (b - b_zero_point) in int32, which wraps around. The linear ones
are that sum, times a_scale * b_scale / y_scale, quantised again with y's zero point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, rounding
from nbcnn.ops.matmul import product_shape
from nbcnn.ops.quantise import saturated, saturated_error

BYTES = ("uint8", "int8")


def beside(name: str, got: TensorType, of: TensorType, shapes: Sequence[tuple], op: str) -> None:
    """Raise ShapeError unless scale or zero point ``got`` is one number or of one of ``shapes``."""
    if got.shape not in ((), (1,), *shapes):
        several = " or ".join(str(TensorType(s, got.dtype)) for s in shapes)
        raise ShapeError(
            f"{op}: {name} should be one number{several and ' or '}{several} for {of}, got {got}"
        )


def bytes_only(value: TensorType, zero_point: TensorType, op: str) -> None:
    if value.dtype not in BYTES or zero_point.dtype != value.dtype:
        raise ShapeError(f"{op} takes uint8 or int8 and a zero point alike, got {value} and {zero_point}")


def floats_only(scales: Sequence[TensorType], op: str) -> None:
    for scale in scales:
        check.floating(scale, op)


def ratio(scales: Sequence[np.ndarray]) -> np.ndarray:
    a, b, y = scales
    return (a * b / y).astype(np.float64)


def requantised_error(
    sums: np.ndarray,
    scales: Sequence[np.ndarray],
    bounds: Sequence[np.ndarray],
    zero_point: np.ndarray,
    u: float,
) -> np.ndarray:
    """The error of saturated(sums * a * b / y) for scales that are off by ``bounds``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b, y = (e / abs(s) for s, e in zip(scales, bounds, strict=True))
        share = np.where(y < 1, (1 + a) * (1 + b) / (1 - y), np.inf) * (1 + rounding.gamma(4, u)) - 1
    r = sums * ratio(scales)
    return saturated_error(r, abs(r) * share, zero_point, zero_point.dtype)


@dataclass(frozen=True)
class MatMulInteger(Op):
    """(a - a_zero_point) @ (b - b_zero_point) in int32; a zero point for each row of a, each column of b."""

    name: ClassVar[str] = "matmul_integer"
    operands: ClassVar[tuple[str, ...]] = ("a", "b", "a_zero_point", "b_zero_point")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        a, b, a_zero, b_zero = types
        bytes_only(a, a_zero, self.name)
        bytes_only(b, b_zero, self.name)
        rows, columns = product_sides(a, b)
        beside("a_zero_point", a_zero, a, rows, self.name)
        beside("b_zero_point", b_zero, b, columns, self.name)
        return (check.result(product_shape(a, b, self.name), "int32", self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        a, b, a_zero, b_zero = (v.astype(np.int32) for v in arrays)
        return (np.asarray((a - as_rows(a_zero, a)) @ (b - b_zero)),)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements() * self.reduction(inputs)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return max(int(inputs[0].shape[-1]), 1)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        def types(a_zero: tuple = (), b_zero: tuple = (), b: str = "int8") -> tuple[TensorType, ...]:
            first, second = TensorType(("N", 7), "uint8"), TensorType((7, 5), b)
            return first, second, TensorType(a_zero, "uint8"), TensorType(b_zero, b)

        yield Sample(cls(), types())
        yield Sample(cls(), types(b_zero=(5,), b="uint8"), note="for each column")
        yield Sample(cls(), types(a_zero=(7,)), error="a_zero_point")
        yield Sample(cls(), types(b_zero=(4,)), error="b_zero_point")
        yield Sample(cls(), types(b="int16"), error="int8")


def product_sides(a: TensorType, b: TensorType) -> tuple[list[tuple], list[tuple]]:
    """The shapes of what is given for each row of ``a`` and each column of ``b``."""
    rows = [a.shape[-2:-1], (*a.shape[:-1], 1)] if a.rank > 1 else []
    columns = [b.shape[-1:], (*b.shape[:-2], 1, b.shape[-1])] if b.rank > 1 else []
    return [s for s in rows if "N" not in s], [s for s in columns if "N" not in s]


def as_rows(value: np.ndarray, a: np.ndarray) -> np.ndarray:
    """One number, or one for each row of ``a``, so that it broadcasts with a (or with a @ b)."""
    return value[:, None] if value.ndim == 1 and value.size > 1 and a.ndim > 1 else value


@dataclass(frozen=True)
class QLinearMatMul(Op):
    """a @ b of quantised operands, quantised; scales and zero points as for `MatMulInteger`."""

    name: ClassVar[str] = "qlinear_matmul"
    operands: ClassVar[tuple[str, ...]] = (
        *("a", "a_scale", "a_zero_point", "b", "b_scale", "b_zero_point", "y_scale", "y_zero_point"),
    )

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = types
        (y,) = MatMulInteger().infer(a, b, a_zero, b_zero)
        floats_only((a_scale, b_scale, y_scale), self.name)
        rows, columns = product_sides(a, b)
        beside("a_scale", a_scale, a, rows, self.name)
        beside("b_scale", b_scale, b, columns, self.name)
        for name, got in (("y_scale", y_scale), ("y_zero_point", y_zero)):
            beside(name, got, y, (), self.name)
        if y_zero.dtype not in BYTES:
            raise ShapeError(f"{self.name} makes uint8 or int8, not {y_zero.dtype}")
        return (TensorType(y.shape, y_zero.dtype),)

    def _sums(self, *arrays: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """The sums of products, the three scales beside them, y's zero point."""
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = arrays
        (sums,) = MatMulInteger().reference(a, b, a_zero, b_zero)
        scales = [as_rows(a_scale, a), b_scale, y_scale]
        return sums, [s.reshape(()) if s.size == 1 else s for s in scales], y_zero.reshape(())

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        sums, scales, zero_point = self._sums(*arrays)
        return (saturated(sums * ratio(scales), zero_point, zero_point.dtype),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        sums, scales, zero_point = self._sums(*arrays)
        off = [as_rows(bounds[1], arrays[0]), bounds[4], bounds[6]]
        return (requantised_error(sums, scales, off, zero_point, u),)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements() * self.reduction(inputs)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return max(int(inputs[0].shape[-1]), 1)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        def types(b_scale: tuple = (), dtype: str = "uint8", y: str = "uint8") -> tuple[TensorType, ...]:
            one, number = TensorType(()), TensorType((), dtype)
            a, b = TensorType(("N", 7), dtype), TensorType((7, 5), dtype)
            return a, one, number, b, TensorType(b_scale), number, one, TensorType((), y)

        data, scale, zero = (0.0, 20.0), (0.05, 0.2), (0.0, 3.0)
        ranges = (data, scale, zero, data, scale, zero, scale, zero)
        yield Sample(cls(), types(), ranges=ranges)
        yield Sample(cls(), types((5,)), note="for each column", ranges=ranges)
        yield Sample(cls(), types((), "int8", "int8"), note="with a sign", ranges=ranges)
        yield Sample(cls(), types((4,)), error="b_scale")
        yield Sample(cls(), types(y="int32"), error="makes")
