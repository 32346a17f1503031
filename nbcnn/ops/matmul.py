"""Matrix products of two run-time operands (ONNX MatMul, Gemm); `Dense` is the one with a weight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import Dim, TensorType
from nbcnn.ops import check, rounding


def product_shape(a: TensorType, b: TensorType, op: str) -> tuple[Dim, ...]:
    """The shape of a @ b as NumPy and ONNX define it: rows of ``a`` by columns of ``b``, the axes before
    broadcast, the axis that an operand of rank 1 lacks left out. Raises ShapeError."""
    if not a.rank or not b.rank:
        raise ShapeError(f"{op} takes operands of rank 1 or more, got {a} and {b}")
    inner = max(b.rank - 2, 0)
    if check.extent(a.rank - 1, a, op) != check.extent(inner, b, op):
        raise ShapeError(f"{op} of {a} and {b}: {a.shape[-1]} columns meet {b.shape[inner]} rows")
    lead = check.broadcast_shape([TensorType(a.shape[:-2]), TensorType(b.shape[:-2])], op)
    return (*lead, *a.shape[-2:-1], *(b.shape[-1:] if b.rank > 1 else ()))


@dataclass(frozen=True)
class MatMul(Op):
    """a @ b: matrices in the last two axes, the axes before them broadcast."""

    name: ClassVar[str] = "matmul"
    operands: ClassVar[tuple[str, ...]] = ("a", "b")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        a, b = types
        check.kinds(a, self.name, check.NUMBERS)
        if a.dtype != b.dtype:
            raise ShapeError(f"matmul takes operands of one dtype, got {a} and {b}")
        return (check.result(product_shape(a, b, self.name), a.dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(np.matmul(*arrays)),)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements() * self.reduction(inputs)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return max(int(inputs[0].shape[-1]), 1)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return rounding.multilinear(self, arrays, bounds, arrays[0].shape[-1], u)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 7)), TensorType((7, 5))))
        yield Sample(cls(), (TensorType(("N", 3, 4)), TensorType(("N", 4, 5))), note="matrices of each image")
        yield Sample(cls(), (TensorType(("N", 3, 6, 4)), TensorType((4, 2))), note="rows of any rank")
        yield Sample(cls(), (TensorType(("N", 2, 3, 4)), TensorType((2, 4, 1))), note="broadcast")
        yield Sample(cls(), (TensorType((4,)), TensorType((4,))), note="two vectors")
        yield Sample(cls(), (TensorType((2, 3, 4)), TensorType((4,))), note="a matrix and a vector")
        yield Sample(cls(), (TensorType((4,)), TensorType((2, 4, 3))), note="a vector and a matrix")
        yield Sample(cls(), (TensorType((2, 3), "int32"), TensorType((3, 2), "int32")), note="integers")
        yield Sample(cls(), (TensorType(("N", 7)), TensorType((6, 5))), error="7 columns meet 6 rows")
        yield Sample(cls(), (TensorType(("N", 7)), TensorType(("N", 7))), error="batch")
        yield Sample(cls(), (TensorType((3, 7)), TensorType(("N", 7, 2))), note="a matrix for all")
        yield Sample(cls(), (TensorType(()), TensorType((3,))), error="rank 1")
        yield Sample(cls(), (TensorType((3, 4)), TensorType((4, 3), "float64")), error="dtype")


@dataclass(frozen=True)
class Gemm(Op):
    """``alpha`` * A @ B + ``beta`` * c, where A is a or its transpose, B likewise, and c is broadcast."""

    name: ClassVar[str] = "gemm"
    operands: ClassVar[tuple[str, ...]] = ("a", "b", "c")
    alpha: float = 1.0
    beta: float = 1.0
    transpose_a: bool = False
    transpose_b: bool = False

    def __post_init__(self) -> None:
        for field in ("alpha", "beta"):
            object.__setattr__(self, field, float(getattr(self, field)))
            if not math.isfinite(getattr(self, field)):
                raise ShapeError(f"{field} must be a finite number, got {getattr(self, field)}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        a, b, c = types
        check.kinds(a, self.name, check.NUMBERS)
        if a.rank != 2 or b.rank != 2:
            raise ShapeError(f"gemm takes two matrices, got {a} and {b}")
        if not a.dtype == b.dtype == c.dtype:
            raise ShapeError(f"gemm takes operands of one dtype, got {a}, {b} and {c}")
        left = TensorType(a.shape[::-1] if self.transpose_a else a.shape)
        right = TensorType(b.shape[::-1] if self.transpose_b else b.shape)
        shape = product_shape(left, right, self.name)
        if check.broadcast_shape([TensorType(shape), c], self.name) != shape:
            raise ShapeError(f"gemm cannot add {c} to {TensorType(shape)}")
        return (check.result(shape, a.dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        a, b, c = arrays
        y = (a.T if self.transpose_a else a) @ (b.T if self.transpose_b else b)
        return ((self.alpha * y + self.beta * c).astype(a.dtype, copy=False),)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements() * self.reduction(inputs)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return max(int(inputs[1].shape[1 if self.transpose_b else 0]), 1)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        sizes = replace(self, alpha=abs(self.alpha), beta=abs(self.beta))
        terms = self.reduction([TensorType(a.shape) for a in arrays]) + 4  # alpha and beta are rounded too
        return rounding.multilinear(sizes, arrays, bounds, terms, u)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        a, b = TensorType(("N", 7)), TensorType((7, 5))
        yield Sample(cls(), (a, b, TensorType((5,))))
        yield Sample(cls(0.5, -2.0), (a, b, TensorType(())), note="a scalar")
        yield Sample(cls(transpose_b=True), (a, TensorType((5, 7)), TensorType(("N", 5))))
        yield Sample(cls(transpose_a=True), (TensorType((7, 3)), b, TensorType((3, 1))), note="no batch")
        yield Sample(cls(transpose_a=True), (a, b, TensorType(())), error="batch")
        yield Sample(cls(), (a, b, TensorType((4, 1, 5))), error="add")
        yield Sample(cls(), (a, TensorType((6, 5)), TensorType(())), error="7 columns")
        yield Sample(cls(), (TensorType(("N", 2, 7)), b, TensorType(())), error="two matrices")
