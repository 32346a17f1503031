"""Comparisons, logic and the choice between two operands (the ONNX operators of these names)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType, is_float
from nbcnn.ops import check
from nbcnn.ops.arithmetic import Binary


class Comparison(Binary):
    """Base of the operators on two operands of one dtype that answer true or false."""

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (wide,) = super().infer(*types)
        return (TensorType(wide.shape, "bool"),)


@dataclass(frozen=True)
class Less(Comparison):
    """a < b."""

    name: ClassVar[str] = "less"

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a < b


@dataclass(frozen=True)
class LessEqual(Comparison):
    """a <= b."""

    name: ClassVar[str] = "less_equal"

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a <= b


@dataclass(frozen=True)
class Greater(Comparison):
    """a > b."""

    name: ClassVar[str] = "greater"

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a > b


@dataclass(frozen=True)
class GreaterEqual(Comparison):
    """a >= b."""

    name: ClassVar[str] = "greater_equal"

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a >= b


@dataclass(frozen=True)
class Equal(Comparison):
    """a == b."""

    name: ClassVar[str] = "equal"
    kinds: ClassVar[str] = check.ANY

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a == b

    def carried(self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray]) -> np.ndarray:
        if not is_float(arrays[0].dtype):
            return np.zeros(self.reference(*arrays)[0].shape)
        reach = np.asarray(bounds[0] + bounds[1])
        return ((abs(arrays[0] - arrays[1]) <= reach) & (reach > 0)).astype(np.float64)


@dataclass(frozen=True)
class LogicalAnd(Comparison):
    """Both are true."""

    name: ClassVar[str] = "logical_and"
    kinds: ClassVar[str] = check.TRUTH

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a & b


@dataclass(frozen=True)
class LogicalOr(Comparison):
    """Either is true, or both."""

    name: ClassVar[str] = "logical_or"
    kinds: ClassVar[str] = check.TRUTH

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a | b


@dataclass(frozen=True)
class LogicalXor(Comparison):
    """One of them is true, not both."""

    name: ClassVar[str] = "logical_xor"
    kinds: ClassVar[str] = check.TRUTH

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a ^ b


class Test(Op):
    """Base of the operators that say of each number whether something holds."""

    kinds: ClassVar[str] = check.FLOATS

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        check.kinds(types[0], self.name, self.kinds)
        return (TensorType(types[0].shape, "bool"),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return (np.zeros(arrays[0].shape),)  # finite errors make no NaN, no infinity and no other truth

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        good, bad = ("bool", "float32") if cls.kinds == check.TRUTH else ("float32", "int64")
        yield Sample(cls(), (TensorType(("N", 5, 3), good),))
        yield Sample(cls(), (TensorType((), good),), note="rank 0")
        yield Sample(cls(), (TensorType(("N", 5), bad),), error="takes")


@dataclass(frozen=True)
class LogicalNot(Test):
    """True where x is false."""

    name: ClassVar[str] = "logical_not"
    kinds: ClassVar[str] = check.TRUTH

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(~arrays[0]),)


@dataclass(frozen=True)
class IsNan(Test):
    """Whether x is NaN."""

    name: ClassVar[str] = "is_nan"

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(np.isnan(arrays[0])),)


@dataclass(frozen=True)
class IsInf(Test):
    """Whether x is infinite: above (``positive``), below (``negative``), or either."""

    name: ClassVar[str] = "is_inf"
    negative: bool = True
    positive: bool = True

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        return (np.asarray((self.negative & np.isneginf(x)) | (self.positive & np.isposinf(x))),)


@dataclass(frozen=True)
class Where(Op):
    """a where the condition is true, else b; all three broadcast."""

    name: ClassVar[str] = "where"
    operands: ClassVar[tuple[str, ...]] = ("condition", "a", "b")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        condition, a, b = types
        if check.kind(condition) != "b":
            raise ShapeError(f"the condition of where takes truth values, got {condition}")
        if a.dtype != b.dtype:
            raise ShapeError(f"where takes a and b of one dtype, got {a} and {b}")
        return (TensorType(check.broadcast_shape(types, self.name), a.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.where(*arrays),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        condition, a, b = arrays
        if not is_float(a.dtype):
            return (np.zeros(self.reference(*arrays)[0].shape),)
        # A condition that came of inexact numbers may be off by 1: then either may be the result.
        kept = np.where(condition, bounds[1], bounds[2])
        unsure = bounds[0] > 0
        return (np.where(unsure, np.maximum(bounds[1], bounds[2]) + abs(a - b), kept),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        image, mask = TensorType(("N", 3, 4, 5)), TensorType(("N", 1, 4, 5), "bool")
        yield Sample(cls(), (mask, image, image))
        yield Sample(cls(), (mask, TensorType(()), TensorType((3, 1, 1))), note="all three broadcast")
        yield Sample(cls(), (mask,) + (TensorType(("N", 1, 4, 5), "int64"),) * 2)
        yield Sample(cls(), (image, image, image), error="condition")
        yield Sample(cls(), (mask, image, TensorType(("N", 3, 4, 5), "int32")), error="one dtype")
        yield Sample(cls(), (mask, image, TensorType(("N", 2, 1, 1))), error="axis 1")
