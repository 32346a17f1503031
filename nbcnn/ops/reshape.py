"""Changes of shape that keep the order of the elements (ONNX Flatten, Reshape) and the batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import BATCH, Dim, TensorType
from nbcnn.ops import check


@dataclass(frozen=True)
class Flatten(Op):
    """Makes one axis of ``axis`` and those after it: [N, C, H, W] to [N, C*H*W].

    The axes before stay as they are (``torch.flatten(start_dim=axis)``; ONNX agrees at axis 1).
    """

    name: ClassVar[str] = "flatten"
    axis: int = 1

    def __post_init__(self) -> None:
        if self.axis < 1:
            raise ShapeError(f"flatten keeps the batch: axis must be at least 1, got {self.axis}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check.axis(self.axis, x, self.name)
        merged = math.prod(check.number(d, x) for d in x.shape[self.axis :])
        return (TensorType((*x.shape[: self.axis], merged), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        return (x.reshape(*x.shape[: self.axis], math.prod(x.shape[self.axis :])),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 3, 4, 5)),))
        yield Sample(cls(), (TensorType(("N", 5, 1, 1)),), note="no data moves in any layout")
        yield Sample(cls(), (TensorType(("N", 6)),), note="identity")
        yield Sample(cls(2), (TensorType(("N", 3, 4, 5)),))
        yield Sample(cls(), (TensorType(("N",)),), error="axis 1")
        yield Sample(cls(), (TensorType(("N", 3, "H", 5)),), error="bound")


@dataclass(frozen=True)
class Reshape(Op):
    """Gives ``shape``: 0 keeps the extent of that axis, one -1 takes what is left, ``N`` is the batch.

    ``N`` may stand first only and reads as 0; the batch stays the first axis. With ``allowzero`` 0 is an
    extent like any other.
    """

    name: ClassVar[str] = "reshape"
    shape: tuple[int | Literal["N"], ...]
    allowzero: bool = False

    def __post_init__(self) -> None:
        shape = tuple(self.shape)
        object.__setattr__(self, "allowzero", self.allowzero and 0 in shape)
        if shape[:1] == (BATCH,) and not self.allowzero:
            shape = (0, *shape[1:])
        if not all(isinstance(d, int) and d >= -1 for d in shape) or shape.count(-1) > 1:
            raise ShapeError(
                f"reshape takes numbers, 0, at most one -1 and N in front, got {list(self.shape)}"
            )
        object.__setattr__(self, "shape", shape)

    def _kept(self, d: int | str) -> bool:
        """Whether ``d`` stands for the extent that is there."""
        return d == 0 and not self.allowzero

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        refused = f"cannot reshape {x} to {list(self.shape)}"
        if any(self._kept(d) for d in self.shape[x.rank :]):
            raise ShapeError(f"{refused}: there is no axis {x.rank} to keep")
        shape: list[Dim] = [x.shape[i] if self._kept(d) else d for i, d in enumerate(self.shape)]
        left, symbols = _split(x.shape)
        wanted, kept = _split(d for d in shape if d != -1)
        lost = [s for s in symbols if s not in kept]
        if -1 in shape:
            at = shape.index(-1)
            if len(lost) == 1 and left == wanted and wanted:
                shape[at] = lost.pop()
            elif not lost and wanted and left % wanted == 0:
                shape[at] = left // wanted
            else:
                raise ShapeError(f"{refused}: {left} elements do not divide by {wanted}")
        elif left != wanted:
            raise ShapeError(f"{refused}: {left} elements become {wanted}")
        if lost or (x.shape[:1] == (BATCH,) and shape[:1] != [BATCH]):
            raise ShapeError(f"{refused}: the batch must stay the first axis (0 or N)")
        return (check.result(shape, x.dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        return (x.reshape([x.shape[i] if self._kept(d) else int(d) for i, d in enumerate(self.shape)]),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        image = (TensorType(("N", 6, 4, 5)),)
        yield Sample(cls((0, -1)), image, note="flatten")
        yield Sample(cls(("N", 3, 2, 20)), image)
        yield Sample(cls((0, 0, 20)), image)
        yield Sample(cls((-1, 120)), image, note="the batch as -1")
        yield Sample(cls((0, 12, -1, 2)), image)
        yield Sample(cls((-1, 3)), (TensorType((2, 6), "int64"),), note="no batch")
        yield Sample(cls((0, 7, -1)), image, error="divide")
        yield Sample(cls((0, 2), allowzero=True), (TensorType((3, 2)),), error="6 elements become 0")
        yield Sample(cls((0, 6, 19)), image, error="120 elements become 114")
        yield Sample(cls((120, -1)), image, error="batch")
        yield Sample(cls((2, -1)), image, error="divide")
        yield Sample(cls((0, 6, 4, 5, 0)), image, error="axis 4")
        yield Sample(cls((-1, 0)), (TensorType(("N", 0, 4)),), error="0 elements do not divide by 0")


def _split(shape: Iterable[Dim]) -> tuple[int, list[str]]:
    """The product of the numbers in ``shape``, and its symbols."""
    shape = tuple(shape)
    return math.prod(d for d in shape if isinstance(d, int)), [d for d in shape if isinstance(d, str)]
