"""Elements picked by run-time indices (ONNX Gather, GatherElements, GatherND).

Indices are int32 or int64; negative ones count from the end. One that lies outside is an InputError.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import InputError, ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check


@dataclass(frozen=True)
class Gather(Op):
    """Slices of ``x`` along ``axis``: an embedding where ``x`` is a table and ``axis`` 0.

    [a..., extent, b...] and indices [i...] give [a..., i..., b...].
    """

    name: ClassVar[str] = "gather"
    operands: ClassVar[tuple[str, ...]] = ("x", "indices")
    axis: int = 0

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, indices = types
        integers(indices, self.name)
        axis = check.axis(self.axis, x, self.name)
        check.extent(axis, x, self.name)
        return (check.result((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, indices = arrays
        inside(indices, x.shape[self.axis], self.name)
        return (np.asarray(x.take(indices, self.axis)),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        image = TensorType(("N", 6, 5, 7))
        yield Sample(cls(), (TensorType((9, 4)), TensorType(("N", 8), "int64")), note="embedding")
        yield Sample(cls(1), (image, TensorType((3,), "int64")), note="channels")
        yield Sample(cls(-1), (image, TensorType((2, 3), "int32")), note="a table of columns")
        yield Sample(cls(2), (image, TensorType((), "int64")), note="one row")
        yield Sample(cls(), (TensorType((7,), "int64"), TensorType((2,), "int64")), note="integers")
        yield Sample(cls(), (image, TensorType((2,), "int64")), error="batch")
        yield Sample(cls(1), (image, TensorType(("N",), "int64")), error="first axis")
        yield Sample(cls(4), (image, TensorType((2,), "int64")), error="axis 4")
        yield Sample(cls(1), (image, TensorType((2,))), error="int64")
        yield Sample(cls(2), (TensorType(("N", 3, "H")), TensorType((2,), "int64")), error="bound")


@dataclass(frozen=True)
class GatherElements(Op):
    """y[i, j, k] = x[i, indices[i, j, k], k], here for ``axis`` 1: one index for every element."""

    name: ClassVar[str] = "gather_elements"
    operands: ClassVar[tuple[str, ...]] = ("x", "indices")
    axis: int = 0

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, indices = types
        integers(indices, self.name)
        aligned(x, indices, self.axis, self.name)
        return (check.result(indices.shape, x.dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, indices = arrays
        return (np.asarray(x[along(indices, self.axis, x.shape[self.axis], self.name)]),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        image = TensorType(("N", 6, 5, 7))
        yield Sample(cls(1), (image, TensorType(("N", 2, 5, 7), "int64")))
        yield Sample(cls(-1), (image, TensorType(("N", 6, 4, 9), "int32")), note="fewer rows, more columns")
        yield Sample(cls(), (TensorType((5, 2)), TensorType((3, 2), "int64")), note="no batch")
        yield Sample(cls(), (image, TensorType(("N", 6, 5, 7), "int64")), error="batch")
        yield Sample(cls(1), (image, TensorType(("N", 2, 6, 7), "int64")), error="axis 2")
        yield Sample(cls(1), (image, TensorType(("N", 2), "int64")), error="rank")


@dataclass(frozen=True)
class GatherNd(Op):
    """Slices of ``x`` at points: the last axis of ``indices`` holds one index for each leading axis of ``x``.

    The first ``batch_dims`` axes of both go together.
    """

    name: ClassVar[str] = "gather_nd"
    operands: ClassVar[tuple[str, ...]] = ("x", "indices")
    batch_dims: int = 0

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, indices = types
        integers(indices, self.name)
        together = self.batch_dims
        if not 0 <= together < indices.rank or x.shape[:together] != indices.shape[:together]:
            raise ShapeError(f"gather_nd cannot join {together} axes of {x} and {indices}")
        depth = check.number(indices.shape[-1], indices)
        if depth < 1 or together + depth > x.rank:
            raise ShapeError(f"gather_nd has {depth} indices a point for {x}")
        for axis in range(together, together + depth):
            check.extent(axis, x, self.name)
        return (check.result((*indices.shape[:-1], *x.shape[together + depth :]), x.dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, indices = arrays
        return (np.asarray(x[points(indices, x.shape, self.batch_dims, self.name)]),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        table = TensorType((4, 5, 6))
        yield Sample(cls(), (table, TensorType(("N", 2), "int64")), note="rows of a table")
        yield Sample(cls(), (table, TensorType((7, 3), "int32")), note="elements")
        yield Sample(
            cls(1), (TensorType(("N", 4, 5)), TensorType(("N", 3, 1), "int64")), note="in each image"
        )
        yield Sample(cls(), (TensorType(("N", 4)), TensorType((3, 1), "int64")), error="batch")
        yield Sample(cls(), (table, TensorType((3, 4), "int64")), error="4 indices")
        yield Sample(cls(1), (table, TensorType((3, 1), "int64")), error="join")


def integers(indices: TensorType, op: str) -> None:
    """Raise ShapeError unless ``indices`` is of a type that indices may have."""
    if indices.dtype not in ("int32", "int64"):
        raise ShapeError(f"{op} takes indices of int32 or int64, got {indices}")


def inside(indices: np.ndarray, extent: int, op: str) -> None:
    """Raise InputError unless every index lies in -extent .. extent - 1."""
    if indices.size and not (-extent <= indices.min() and indices.max() < extent):
        worst = indices.min() if indices.min() < -extent else indices.max()
        raise InputError(f"{op}: index {worst} lies outside an axis of {extent}")


def aligned(x: TensorType, indices: TensorType, axis: int, op: str) -> None:
    """Raise ShapeError unless ``indices`` fits ``x`` on every axis but ``axis``, and that one is no batch."""
    axis = check.axis(axis, x, op)
    if x.rank != indices.rank:
        raise ShapeError(f"{op} takes indices of the operand's rank, got {x} and {indices}")
    check.extent(axis, x, op)
    for i, (have, want) in enumerate(zip(x.shape, indices.shape, strict=True)):
        fits = want <= have if isinstance(have, int) and isinstance(want, int) else want == have
        if i != axis and not fits:
            raise ShapeError(f"{op}: indices have {want} on axis {i}, the operand has {have}")


def along(indices: np.ndarray, axis: int, extent: int, op: str) -> tuple[np.ndarray, ...]:
    """What indexes, in NumPy, the elements that ``indices`` names along ``axis``."""
    inside(indices, extent, op)
    grid = np.indices(indices.shape, sparse=True)
    return tuple(indices if i == axis % indices.ndim else index for i, index in enumerate(grid))


def points(indices: np.ndarray, shape: tuple[int, ...], batch_dims: int, op: str) -> tuple[np.ndarray, ...]:
    """What indexes, in NumPy, the slices that the points in the last axis of ``indices`` name."""
    found = [indices[..., i] for i in range(indices.shape[-1])]
    for index, extent in zip(found, shape[batch_dims:], strict=False):
        inside(index, extent, op)
    return (*np.indices(indices.shape[:-1], sparse=True)[:batch_dims], *found)
