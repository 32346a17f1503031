"""Other dtypes, and none: ONNX Cast and Identity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError, nearest
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import DTYPES, TensorType, is_float
from nbcnn.ops import rounding


@dataclass(frozen=True)
class Cast(Op):
    """The same numbers as dtype ``to``: fractions cut off for integers, true for whatever is not 0."""

    name: ClassVar[str] = "cast"
    to: str

    def __post_init__(self) -> None:
        if self.to not in DTYPES:
            raise ShapeError(f"unknown dtype '{self.to}'{nearest(self.to, DTYPES)}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(types[0].shape, self.to),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        with np.errstate(all="ignore"):  # what does not fit has no right answer
            return (arrays[0].astype(np.dtype(self.to)),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        (x,), (e,) = arrays, bounds
        if not is_float(x.dtype):
            return (np.zeros(x.shape),)
        if self.to == "bool":
            return (((abs(x) <= e) & (e > 0)).astype(np.float64),)
        return (rounding.corners(self, arrays, bounds)[0],)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for old, new in (
            ("float32", "float64"),
            ("float32", "float16"),
            ("float32", "int64"),
            ("float32", "bool"),
            ("float32", "float32"),
            ("int32", "float32"),
            ("bool", "float32"),
            ("uint8", "int8"),
        ):
            yield Sample(cls(new), (TensorType(("N", 3, 4), old),), note=f"{old} to {new}")
        yield Sample(cls("int32"), (TensorType(()),), note="rank 0")


@dataclass(frozen=True)
class Identity(Op):
    """Its operand."""

    name: ClassVar[str] = "identity"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (types[0],)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0],)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 3, 4)),))
        yield Sample(cls(), (TensorType((), "bool"),), note="rank 0")
