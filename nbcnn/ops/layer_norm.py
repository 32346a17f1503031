"""Layer normalisation and its kin that divides by the root mean square alone.

ONNX LayerNormalization (Ba, Kiros, Hinton, arXiv:1607.06450), RMSNormalization (Zhang, Sennrich,
arXiv:1910.07467). ``axes`` are normalised together: the last (``[-1]``) where features come last, ``[1]`` for
the channels of each pixel of an image as it is (ConvNeXt), without transposing it there and back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Param, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, rounding
from nbcnn.ops.normalise import Epsilon, wide


class _Axes(Epsilon):
    """What both share: the axes, and weights that span them."""

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        axes = (self.axes,) if isinstance(self.axes, int) else self.axes
        object.__setattr__(self, "axes", tuple(int(a) for a in axes))
        if not self.axes:
            raise ShapeError(f"{self.name} needs at least one axis")

    def along(self, x: TensorType) -> tuple[int, ...]:
        """The axes in ascending order, counted from the front; raises ShapeError for bad ones."""
        axes = sorted(check.axis(a, x, self.name) for a in self.axes)
        if len(set(axes)) < len(axes):
            raise ShapeError(f"{self.name} names an axis twice: {list(self.axes)}")
        return tuple(axes)

    def groups(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return shape, self.along(TensorType(shape))

    def affine(self, weights: Sequence[np.ndarray], ndim: int) -> list[np.ndarray]:
        axes = self.along(TensorType((1,) * ndim))
        spans = [[w.shape[axes.index(i)] if i in axes else 1 for i in range(axes[0], ndim)] for w in weights]
        return [w.reshape(span) for w, span in zip(weights, spans, strict=True)]

    def _span(self, x: TensorType) -> TensorType:
        check.floating(x, self.name)
        spanned = tuple(check.number(x.shape[a], x) for a in self.along(x))
        if min(spanned) < 1:
            raise ShapeError(f"{self.name} of nothing, {x}")
        return TensorType(spanned, x.dtype)


@dataclass(frozen=True)
class LayerNorm(_Axes):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias over ``axes``; weight and bias span them.

    ``statistics`` adds two results, the mean and 1 / sqrt(variance + epsilon), with extent 1 along ``axes``.
    """

    name: ClassVar[str] = "layer_norm"
    axes: int | tuple[int, ...] = (-1,)  # type: ignore[assignment]  # always a tuple once made
    epsilon: float = 1e-5
    bias: bool = True
    statistics: bool = False

    def params(self, *types: TensorType) -> dict[str, Param]:
        span = self._span(types[0])
        weight = {"weight": Param(span, "scale")}
        return weight | ({"bias": Param(span, "bias")} if self.bias else {})

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        self._span(x)
        if not self.statistics:
            return types
        axes = self.along(x)
        kept = tuple(1 if i in axes else d for i, d in enumerate(x.shape))
        statistic = TensorType(kept, "float32" if x.dtype == "float16" else x.dtype)
        return (x, statistic, statistic)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (y,) = super().reference(*arrays)
        if not self.statistics:
            return (y,)
        _, mean, sigma = self.standard(wide(arrays[0]))
        return y, mean, 1 / sigma

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        (of_y,) = super().error(arrays, bounds, u)
        if not self.statistics:
            return (of_y,)
        _, _, mean, off_mean, sigma, off = self.moved(arrays[0], bounds[0], u)
        own = rounding.gamma(self.reduction([TensorType(arrays[0].shape)]) + rounding.FEW, u)
        return of_y, off_mean + u * abs(mean), off + own * (1 / sigma + off)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 7, 12)),), note="tokens")
        yield Sample(cls(), (TensorType(("N", 40)),), note="rows")
        yield Sample(cls(1, 1e-6), (TensorType(("N", 24, 3, 5)),), note="ConvNeXt")
        yield Sample(cls((1,), bias=False), (TensorType(("N", 17, 2, 2)),), note="odd channels")
        yield Sample(cls((1, 2, 3)), (TensorType(("N", 3, 4, 5)),), note="whole images")
        yield Sample(cls((-1, 1), 1e-2), (TensorType(("N", 3, 4, 5)),), note="axes apart")
        yield Sample(cls((2, 3), statistics=True), (TensorType(("N", 3, 4, 5)),), note="with statistics")
        yield Sample(cls((1, 1)), (TensorType(("N", 3)),), error="twice")
        yield Sample(cls((2,)), (TensorType(("N", 3)),), error="axis 2")
        yield Sample(cls((1,)), (TensorType(("N", "C", 3)),), error="bound")
        yield Sample(cls(), (TensorType(("N", 3), "int64"),), error="floats")


@dataclass(frozen=True)
class RmsNorm(_Axes):
    """x / sqrt(mean of x^2 + epsilon) * weight over ``axes``; the weight spans them."""

    name: ClassVar[str] = "rms_norm"
    CENTRED: ClassVar[bool] = False
    axes: int | tuple[int, ...] = (-1,)  # type: ignore[assignment]  # always a tuple once made
    epsilon: float = 1e-5

    def params(self, *types: TensorType) -> dict[str, Param]:
        return {"weight": Param(self._span(types[0]), "scale")}

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self._span(types[0])
        return types

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 7, 12)),), note="tokens")
        yield Sample(cls(1), (TensorType(("N", 24, 3, 5)),), note="channels")
        yield Sample(cls((2, 3), 1e-2), (TensorType(("N", 3, 4, 5)),), note="planes")
        yield Sample(cls((3,)), (TensorType(("N", 3, 4)),), error="axis 3")
        yield Sample(cls(), (TensorType(("N", 3), "int64"),), error="floats")
