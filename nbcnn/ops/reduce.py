"""Reductions along axes (the Reduce operators of ONNX).

Each takes ``axes`` (negative ones count from the end): all of them without, none for an empty list.
``keepdims`` leaves them with extent 1. The batch ``N`` cannot be reduced. Integers stay integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType, is_float
from nbcnn.ops import check, rounding

Axes = tuple[int, ...] | None


@dataclass(frozen=True)
class _Reduce(Op):
    kinds: ClassVar[str] = check.NUMBERS
    range: ClassVar[tuple[float, float]] = (-3.0, 3.0)
    """Where the samples' elements lie."""
    axes: Axes = None
    keepdims: bool = True

    def __post_init__(self) -> None:
        if self.axes is not None:
            object.__setattr__(self, "axes", tuple(int(a) for a in self.axes))

    def along(self, x: TensorType) -> tuple[int, ...]:
        """The axes in ascending order, counted from the front; raises ShapeError for bad ones."""
        return check.axes(self.axes, x, self.name)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check.kinds(x, self.name, self.kinds)
        axes = self.along(x)
        for axis in axes:
            check.extent(axis, x, self.name)
        kept = [1 if i in axes else d for i, d in enumerate(x.shape) if self.keepdims or i not in axes]
        return (TensorType(tuple(kept), x.dtype),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        with np.errstate(divide="ignore"):  # the logarithm of an empty sum is minus infinity
            y = self.reduce(x, self.along(TensorType(x.shape)))
        return (np.asarray(y).astype(x.dtype, copy=False),)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """The result along ``axes`` in any dtype."""
        raise NotImplementedError

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return max(math.prod(int(inputs[0].shape[a]) for a in self.along(inputs[0])), 1)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        terms = self.reduction([TensorType(arrays[0].shape)]) + 1
        return rounding.multilinear(self, arrays, bounds, terms, u)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        image, within = (TensorType(("N", 3, 4, 5)),), (cls.range,)
        yield Sample(cls((2, 3)), image, note="the plane", ranges=within)
        yield Sample(cls((-1, -2), False), image, note="the plane, without its axes", ranges=within)
        yield Sample(cls((1,)), image, note="channels", ranges=within)
        yield Sample(cls((1, 2, 3), False), image, ranges=within)
        yield Sample(cls((1,)), (TensorType(("N", 1)),), note="of one element", ranges=within)
        yield Sample(cls(keepdims=False), (TensorType((3, 4)),), note="all", ranges=within)
        yield Sample(cls(()), (TensorType(("N", 4)),), note="along no axis", ranges=within)
        yield Sample(cls((0,)), (TensorType((3, 4), "int32"),), note="integers", ranges=((1, 5),))
        yield Sample(cls(), image, error="batch")
        yield Sample(cls((0,)), image, error="batch")
        yield Sample(cls((2, -2)), image, error="twice")
        yield Sample(cls((4,)), image, error="axis 4")
        yield Sample(cls((2,)), (TensorType(("N", 3, "H", 5)),), error="bound")


@dataclass(frozen=True)
class ReduceSum(_Reduce):
    """The sum along ``axes``."""

    name: ClassVar[str] = "reduce_sum"

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return x.sum(axis=axes, keepdims=self.keepdims)


@dataclass(frozen=True)
class ReduceMean(_Reduce):
    """The mean along ``axes``, which must hold something; of integers it loses its fraction."""

    name: ClassVar[str] = "reduce_mean"

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (y,) = super().infer(*types)
        if not all(types[0].shape[a] for a in self.along(types[0])):
            raise ShapeError(f"reduce_mean of nothing, {types[0]}")
        return (y,)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return x.mean(axis=axes, keepdims=self.keepdims)


@dataclass(frozen=True)
class ReduceProd(_Reduce):
    """The product along ``axes``."""

    name: ClassVar[str] = "reduce_prod"

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return x.prod(axis=axes, keepdims=self.keepdims)


@dataclass(frozen=True)
class ReduceL1(_Reduce):
    """The sum of |x| along ``axes``."""

    name: ClassVar[str] = "reduce_l1"

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return abs(x).sum(axis=axes, keepdims=self.keepdims)


@dataclass(frozen=True)
class ReduceSumSquare(_Reduce):
    """The sum of x * x along ``axes``."""

    name: ClassVar[str] = "reduce_sum_square"

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return (x * x).sum(axis=axes, keepdims=self.keepdims)


@dataclass(frozen=True)
class ReduceL2(_Reduce):
    """The square root of the sum of x * x along ``axes``."""

    name: ClassVar[str] = "reduce_l2"

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.sqrt((x * x).sum(axis=axes, keepdims=self.keepdims))

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # | |x + e| - |x| | <= |e| for any norm; a root halves the relative error of what is under it.
        (x,), (e,) = arrays, bounds
        steps = self.reduction([TensorType(x.shape)]) + 1 + rounding.FEW
        return (self.reference(e)[0] + rounding.gamma(steps, u) * self.reference(abs(x) + e)[0],)


@dataclass(frozen=True)
class ReduceLogSum(_Reduce):
    """The natural logarithm of the sum along ``axes``."""

    name: ClassVar[str] = "reduce_log_sum"
    range: ClassVar[tuple[float, float]] = (0.5, 3.0)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.log(x.sum(axis=axes, keepdims=self.keepdims))

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        sums = ReduceSum(self.axes, self.keepdims)
        (s,), (off,) = sums.reference(*arrays), sums.error(arrays, bounds, u)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(s > 0, np.minimum(off / s, 1), 1)  # a sum that may be 0 can give anything
            return (-np.log1p(-share) + rounding.gamma(rounding.FEW, u) * abs(np.log(s)),)


@dataclass(frozen=True)
class ReduceLogSumExp(_Reduce):
    """The natural logarithm of the sum of exp(x) along ``axes``, without overflow on the way."""

    name: ClassVar[str] = "reduce_log_sum_exp"

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        x = x if is_float(x.dtype) else x.astype(np.float64)
        top = x.max(axis=axes, keepdims=True, initial=-np.inf)
        top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
        y = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
        return y if self.keepdims else y.squeeze(axes)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # The largest error of x is one of the result. Each exponent d = max - x is rounded, u*d, which its
        # term of the sum, exp(-d), makes small; d * exp(-d) stays below 1.
        (x,), (e,) = arrays, bounds
        axes = self.along(TensorType(x.shape))
        steps = 2 * self.reduction([TensorType(x.shape)]) + 3 * rounding.FEW
        off = e.max(axis=axes, keepdims=self.keepdims, initial=0)
        return (off + rounding.gamma(steps, u) * (1 + off + abs(self.reference(x)[0])),)


@dataclass(frozen=True)
class _Extremum(_Reduce):
    kinds: ClassVar[str] = check.ANY

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return ReduceMax(self.axes, self.keepdims).reference(*bounds)  # no further off than the worst element


@dataclass(frozen=True)
class ReduceMax(_Extremum):
    """The largest element along ``axes``; of nothing, the smallest number there is."""

    name: ClassVar[str] = "reduce_max"

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return x.max(axis=axes, keepdims=self.keepdims, initial=_ends(x.dtype)[0])


@dataclass(frozen=True)
class ReduceMin(_Extremum):
    """The smallest element along ``axes``; of nothing, the largest number there is."""

    name: ClassVar[str] = "reduce_min"

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return x.min(axis=axes, keepdims=self.keepdims, initial=_ends(x.dtype)[1])


def _ends(dtype: np.dtype) -> tuple[Any, Any]:
    """The smallest and the largest number of ``dtype``."""
    if is_float(dtype):
        return -np.inf, np.inf
    return (False, True) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
