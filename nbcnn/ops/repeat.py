"""An operand several times over (ONNX Expand, Tile)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import BATCH, TensorType
from nbcnn.ops import check


@dataclass(frozen=True)
class Expand(Op):
    """The operand broadcast with ``shape``: an axis of extent 1 is repeated, 1 keeps what is there.

    ``N`` stands for the batch, which has to be there already, and reads as 1.
    """

    name: ClassVar[str] = "expand"
    shape: tuple[int | Literal["N"], ...]

    def __post_init__(self) -> None:
        shape = tuple(1 if d == BATCH else d for d in self.shape)
        if not all(isinstance(d, int) and d >= 0 for d in shape):
            raise ShapeError(f"expand takes numbers that are not negative and N, got {list(self.shape)}")
        object.__setattr__(self, "shape", shape)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        wide = check.broadcast(x, TensorType(self.shape, x.dtype), self.name)
        return (check.result(wide.shape, x.dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        shape: Sequence[int] = self.shape  # type: ignore[assignment]
        return (np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))).copy(),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        image = (TensorType(("N", 5, 1, 1)),)
        yield Sample(cls(("N", 5, 3, 4)), image, note="a plane of one value")
        yield Sample(cls((3, 4)), image, note="fewer axes")
        yield Sample(cls((1,)), image, note="identity")
        yield Sample(cls((2, 3, 4)), (TensorType((3, 1), "int32"),), note="more axes")
        yield Sample(cls((3,)), (TensorType(()),), note="of a scalar")
        yield Sample(cls((2, 5, 3, 3)), image, error="axis 0")
        yield Sample(cls((1, 4, 1, 1)), image, error="axis 1")
        yield Sample(cls((2, 1, 5, 1, 1)), image, error="batch")


@dataclass(frozen=True)
class Tile(Op):
    """The operand laid side by side, ``repeats[i]`` times along axis i."""

    name: ClassVar[str] = "tile"
    repeats: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "repeats", tuple(int(r) for r in self.repeats))
        if min(self.repeats, default=0) < 0:
            raise ShapeError(f"repeats must not be negative, got {list(self.repeats)}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        if x.rank != len(self.repeats):
            raise ShapeError(f"tile repeats {len(self.repeats)} axes, but {x} has {x.rank}")
        shape = [
            d if count == 1 else count * check.extent(axis, x, self.name)
            for axis, (d, count) in enumerate(zip(x.shape, self.repeats, strict=True))
        ]
        return (TensorType(tuple(shape), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.tile(arrays[0], self.repeats),)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        image = (TensorType(("N", 2, 3, 4)),)
        yield Sample(cls((1, 1, 2, 3)), image)
        yield Sample(cls((1, 3, 1, 1)), image, note="channels")
        yield Sample(cls((1, 1, 1, 1)), image, note="identity")
        yield Sample(cls((2, 1)), (TensorType((3, 2), "bool"),), note="no batch")
        yield Sample(cls((2, 1, 1, 1)), image, error="batch")
        yield Sample(cls((2,)), image, error="1 axes")
        yield Sample(cls((1, 1, 2)), (TensorType(("N", 2, "H")),), error="bound")
