"""Blocks of a plane as channels and back (ONNX DepthToSpace, SpaceToDepth; PyTorch pixel_shuffle).

With block size b, channel order CRD: depth_to_space y[n, c, i*b + u, j*b + v] = x[n, c*b*b + u*b + v, i, j];
DCR: = x[n, (u*b + v) * C + c, i, j], C the channels of y. space_to_depth is the inverse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import Dim, TensorType
from nbcnn.ops import check, window

Order = Literal["DCR", "CRD"]


def _image(x: TensorType, op: str) -> tuple[Dim, int, int, int]:
    if x.rank != 4:
        raise ShapeError(f"{op} takes images [N, C, H, W], got {x}")
    n, *rest = x.shape
    c, h, w = (check.number(d, x) for d in rest)
    return n, c, h, w


@dataclass(frozen=True)
class DepthToSpace(Op):
    """[N, C*b*b, H, W] to [N, C, H*b, W*b]: blocks of b by b points, b = ``blocksize``, made of channels."""

    name: ClassVar[str] = "depth_to_space"
    blocksize: int
    mode: Order = "DCR"

    def __post_init__(self) -> None:
        window.positive("blocksize", self.blocksize)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        n, c, h, w = _image(x, self.name)
        b = self.blocksize
        if c % (b * b):
            raise ShapeError(f"{c} channels do not divide into blocks of {b} by {b}")
        return (TensorType((n, c // (b * b), h * b, w * b), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        b, (n, c, h, w) = self.blocksize, x.shape
        if self.mode == "DCR":
            parts = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            parts = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return (parts.reshape(n, c // (b * b), h * b, w * b),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        image = (TensorType(("N", 12, 2, 3)),)
        yield Sample(cls(2), image)
        yield Sample(cls(2, "CRD"), image, note="pixel shuffle")
        yield Sample(cls(3), (TensorType(("N", 9, 1, 2), "uint8"),))
        yield Sample(cls(1), image, note="identity")
        yield Sample(cls(3), image, error="12 channels")
        yield Sample(cls(2), (TensorType(("N", 4)),), error="images")
        yield Sample(cls(2), (TensorType(("N", 4, "H", 2)),), error="bound")


@dataclass(frozen=True)
class SpaceToDepth(Op):
    """[N, C, H*b, W*b] to [N, C*b*b, H, W]: blocks of b by b points, b = ``blocksize``, as channels."""

    name: ClassVar[str] = "space_to_depth"
    blocksize: int
    mode: Order = "DCR"

    def __post_init__(self) -> None:
        window.positive("blocksize", self.blocksize)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        n, c, h, w = _image(x, self.name)
        b = self.blocksize
        if h % b or w % b:
            raise ShapeError(f"a plane of {h} by {w} does not divide into blocks of {b} by {b}")
        return (TensorType((n, c * b * b, h // b, w // b), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        b, (n, c, h, w) = self.blocksize, x.shape
        order = (0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4)
        parts = x.reshape(n, c, h // b, b, w // b, b).transpose(order)
        return (parts.reshape(n, c * b * b, h // b, w // b),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        image = (TensorType(("N", 3, 4, 6)),)
        yield Sample(cls(2), image)
        yield Sample(cls(2, "CRD"), image, note="pixel unshuffle")
        yield Sample(cls(1), image, note="identity")
        yield Sample(cls(4), image, error="4 by 6")
        yield Sample(cls(2), (TensorType(("N", 4)),), error="images")
