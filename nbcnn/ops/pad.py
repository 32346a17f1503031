"""Elements put around an operand, or cut off its ends (ONNX Pad)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import Dim, TensorType, is_float
from nbcnn.ops import check

if TYPE_CHECKING:
    Numbers = tuple[int, ...]
else:
    Numbers = int | tuple[int, ...]


@dataclass(frozen=True)
class Pad(Op):
    """``padding`` elements before and behind each of ``axes`` (the plane); negative numbers cut off as many.

    ``padding`` is one number, one for each axis, or those before each axis and then those behind it. Cut
    first, then padded: with ``value`` (``constant``; it may be minus infinity, for a maximum), with the
    last element (``edge``), with what lies mirrored at it (``reflect``) or at the other end (``wrap``).
    """

    name: ClassVar[str] = "pad"
    padding: Numbers
    value: float = 0.0
    mode: Literal["constant", "edge", "reflect", "wrap"] = "constant"
    axes: tuple[int, ...] = (-2, -1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(int(a) for a in self.axes))
        rank = len(self.axes)
        given = (self.padding,) * rank if isinstance(self.padding, int) else tuple(self.padding)
        numbers = given * 2 if len(given) == rank else given
        if len(numbers) != 2 * rank:
            raise ShapeError(f"padding must be 1, {rank} or {2 * rank} numbers for {rank} axes, got {given}")
        object.__setattr__(self, "padding", tuple(int(n) for n in numbers))
        object.__setattr__(self, "value", float(self.value))
        if math.isnan(self.value):
            raise ShapeError("value must be a number, got nan")

    @property
    def nothing(self) -> bool:
        """Whether no element is put anywhere or cut off."""
        return not any(self.padding)

    def around(self, x: TensorType) -> dict[int, tuple[int, int]]:
        """What is put before and behind each axis where that is anything, counted from the front."""
        check.axes(self.axes, x, self.name)
        pairs = zip(self.padding[: len(self.axes)], self.padding[len(self.axes) :], strict=True)
        return {axis % x.rank: pair for axis, pair in zip(self.axes, pairs, strict=True) if any(pair)}

    def plane(self, x: TensorType) -> tuple[int, ...] | None:
        """What is put before each axis behind the channels, then behind each, where it is ``value``.

        None where that is not all that this does.
        """
        around, axes = self.around(x), range(2, x.rank)
        if not axes or self.mode != "constant" or min(self.padding) < 0 or not around.keys() <= set(axes):
            return None
        sides = [around.get(axis, (0, 0)) for axis in axes]
        return (*(before for before, _ in sides), *(behind for _, behind in sides))

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        shape: list[Dim] = list(x.shape)
        for axis, (before, behind) in self.around(x).items():
            extent = check.extent(axis, x, self.name)
            left = extent + min(before, 0) + min(behind, 0)
            if left < 0 or (left == 0 and self.mode != "constant"):
                raise ShapeError(f"padding {before}, {behind} leaves nothing of axis {axis} of {x}")
            shape[axis] = extent + before + behind
        if check.kind(x) != "f" and not self.value.is_integer():
            raise ShapeError(f"value {self.value:g} is no element of {x}")
        return (TensorType(tuple(shape), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        around = self.around(TensorType(x.shape))
        pairs = [around.get(axis, (0, 0)) for axis in range(x.ndim)]
        cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, pairs, strict=True))
        put = [(max(a, 0), max(b, 0)) for a, b in pairs]
        if self.mode == "constant":
            value = self.value if is_float(x.dtype) else int(self.value)
            return (np.pad(x[cut], put, constant_values=value),)
        return (np.pad(x[cut], put, mode=self.mode),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return super(Pad, replace(self, value=0.0)).error(arrays, bounds, u)  # a constant is never off

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def image(c: int, h: int, w: int) -> tuple[TensorType, ...]:
            return (TensorType(("N", c, h, w)),)

        yield Sample(cls(1), image(3, 4, 5))
        yield Sample(cls((0, 1, 2, 3)), image(2, 3, 3), note="uneven")
        yield Sample(cls((2, 0), -1.5), image(20, 3, 2), note="rows of a number")
        yield Sample(cls(0), image(2, 3, 3), note="identity")
        yield Sample(cls(1), (TensorType((4, 3), "int32"),), note="a matrix")
        for mode in ("edge", "reflect", "wrap"):
            yield Sample(cls((2, 1, 0, 3), mode=mode), image(2, 4, 5), note=mode)
        yield Sample(cls((-1, 2, 0, -3)), image(2, 4, 5), note="cut")
        yield Sample(cls((-1, 2, 3, -2), mode="reflect"), image(2, 5, 5), note="cut, then mirrored")
        yield Sample(cls((0, 1, 0, 2), axes=(0, 1)), image(2, 3, 3), note="channels; the batch stays")
        yield Sample(cls((1, 2), axes=(-1,)), (TensorType(("N", 2, 7)),), note="a signal")
        yield Sample(cls(1, axes=(2, 3, 4)), (TensorType(("N", 1, 2, 2, 2)),), note="a volume")
        yield Sample(cls(1), (TensorType(("N", 4)),), error="batch")
        yield Sample(cls(1), (TensorType(("N", 2, "H", 4)),), error="bound")
        yield Sample(cls((-2, 0)), image(1, 3, 3), error="leaves nothing")
        yield Sample(cls(1, axes=(1, -3)), image(1, 3, 3), error="twice")
        yield Sample(cls(1, 0.5), (TensorType((4, 3), "uint8"),), error="no element")
