"""Operations on the bits of integers (the ONNX operators of these names)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check
from nbcnn.ops.arithmetic import Binary


@dataclass(frozen=True)
class BitwiseAnd(Binary):
    """The bits that both have."""

    name: ClassVar[str] = "bitwise_and"
    kinds: ClassVar[str] = check.INTEGERS

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a & b


@dataclass(frozen=True)
class BitwiseOr(Binary):
    """The bits that either has."""

    name: ClassVar[str] = "bitwise_or"
    kinds: ClassVar[str] = check.INTEGERS

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a | b


@dataclass(frozen=True)
class BitwiseXor(Binary):
    """The bits that one of them has."""

    name: ClassVar[str] = "bitwise_xor"
    kinds: ClassVar[str] = check.INTEGERS

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a ^ b


@dataclass(frozen=True)
class BitShift(Binary):
    """a with its bits moved by b places: zeros follow, or the sign to the right.

    A shift by as many bits as a has, by more or by a negative number moves all of them out.
    """

    name: ClassVar[str] = "bit_shift"
    kinds: ClassVar[str] = check.INTEGERS
    direction: Literal["left", "right"] = "left"

    def __post_init__(self) -> None:
        if self.direction not in ("left", "right"):
            raise ShapeError(f"direction must be 'left' or 'right', got '{self.direction}'")

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        width = 8 * a.dtype.itemsize
        shift = np.left_shift if self.direction == "left" else np.right_shift
        inside = (b >= 0) & (b < width)
        outside = np.where((a < 0) & (self.direction == "right"), a.dtype.type(0) - 1, 0).astype(a.dtype)
        return np.where(inside, shift(a, np.where(inside, b, b.dtype.type(0))), outside)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        bits = TensorType(("N", 5), "uint8")
        for direction in ("left", "right"):
            yield Sample(cls(direction), (bits, bits))
            yield Sample(cls(direction), (bits, TensorType((), "uint8")), note="scalar")
        yield Sample(cls("right"), (TensorType(("N", 5), "int32"),) * 2, note="the sign follows")
        yield Sample(cls(), (TensorType(("N", 5)),) * 2, error="integers")
        yield Sample(cls(), (bits, TensorType(("N", 4), "uint8")), error="axis 1")


@dataclass(frozen=True)
class BitwiseNot(Op):
    """Every bit turned."""

    name: ClassVar[str] = "bitwise_not"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        check.kinds(types[0], self.name, check.INTEGERS)
        return (types[0],)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(~arrays[0]),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return (np.zeros(arrays[0].shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 5), "int32"),))
        yield Sample(cls(), (TensorType(("N", 5), "uint8"),))
        yield Sample(cls(), (TensorType(("N", 5), "bool"),), error="integers")
