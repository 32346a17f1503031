"""Normalisation of each image by itself, plane by plane or by groups of channels.

ONNX InstanceNormalization (Ulyanov, Vedaldi, Lempitsky, arXiv:1607.08022), GroupNormalization (Wu, He,
arXiv:1803.08494) with a weight and a bias for each channel, and MeanVarianceNormalization, which has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Param, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, window
from nbcnn.ops.normalise import Epsilon, Normalise, per_channel


def _channels(x: TensorType, op: str) -> int:
    """Channels of ``x`` [N, C, ...]; raises ShapeError for what has no planes."""
    check.floating(x, op)
    if x.rank < 3:
        raise ShapeError(f"{op} takes [N, C, ...] with at least one axis behind the channels, got {x}")
    channels = check.number(x.shape[1], x)
    if math.prod(check.number(d, x) for d in x.shape[2:]) < 1:
        raise ShapeError(f"{op} of an empty plane, {x}")
    return channels


@dataclass(frozen=True)
class InstanceNorm(Epsilon):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, statistics of each plane of [N, C, ...]."""

    name: ClassVar[str] = "instance_norm"
    epsilon: float = 1e-5

    def groups(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return shape, tuple(range(2, len(shape)))

    def params(self, *types: TensorType) -> dict[str, Param]:
        _channels(types[0], self.name)
        return per_channel(types[0], True)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        _channels(types[0], self.name)
        return types

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 3, 4, 5)),))
        yield Sample(cls(1e-2), (TensorType(("N", 20, 9, 9)),), note="more than a vector")
        yield Sample(cls(), (TensorType(("N", 3, 8)),), note="signals")
        yield Sample(cls(), (TensorType(("N", 2, 3, 4, 2)),), note="volumes")
        yield Sample(cls(), (TensorType(("N", 3)),), error="behind the channels")
        yield Sample(cls(), (TensorType(("N", "C", 4, 4)),), error="bound")
        yield Sample(cls(), (TensorType(("N", 3, 4, 4), "int64"),), error="floats")


@dataclass(frozen=True)
class GroupNorm(Epsilon):
    """The same with statistics over each of ``groups`` groups of channels."""

    name: ClassVar[str] = "group_norm"
    num_groups: int
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        window.positive("num_groups", self.num_groups)

    def groups(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        view = (shape[0], self.num_groups, shape[1] // self.num_groups, *shape[2:])
        return view, tuple(range(2, len(view)))

    def params(self, *types: TensorType) -> dict[str, Param]:
        _channels(types[0], self.name)
        return per_channel(types[0], True)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        channels = _channels(types[0], self.name)
        if channels % self.num_groups:
            raise ShapeError(f"{channels} channels do not divide into {self.num_groups} groups")
        return types

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        yield Sample(cls(2), (TensorType(("N", 4, 4, 5)),))
        yield Sample(cls(8), (TensorType(("N", 40, 3, 6)),), note="groups across vectors")
        yield Sample(cls(1), (TensorType(("N", 5, 3, 3)),), note="whole images")
        yield Sample(cls(6, 1e-2), (TensorType(("N", 6, 10)),), note="signals, each channel")
        yield Sample(cls(3), (TensorType(("N", 4, 4, 5)),), error="3 groups")
        yield Sample(cls(3), (TensorType(("N", 3)),), error="behind the channels")
        yield Sample(cls(3), (TensorType(("N", 3, 4, 4), "int64"),), error="floats")


@dataclass(frozen=True)
class MeanVarianceNormalization(Normalise):
    """(x - mean) / (sqrt(variance) + 1e-9) over ``axes``, by default all but the channels."""

    name: ClassVar[str] = "mean_variance_normalization"
    axes: tuple[int, ...] = (0, 2, 3)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(int(a) for a in self.axes))

    def groups(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return shape, tuple(check.axis(a, TensorType(shape), self.name) for a in self.axes)

    def sigma(self, variance: np.ndarray) -> np.ndarray:
        return np.sqrt(variance) + variance.dtype.type(self.floor())

    def floor(self) -> float:
        return 1e-9

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        check.floating(types[0], self.name)
        axes = [check.axis(a, types[0], self.name) for a in self.axes]
        if not axes or len(set(axes)) < len(axes):
            raise ShapeError(f"{self.name} needs axes, each once, got {list(self.axes)}")
        return types

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 3, 4, 5)),))
        yield Sample(cls((1, -1)), (TensorType(("N", 3, 4, 5)),), note="within images")
        yield Sample(cls(), (TensorType(("N", 3)),), error="axis 2")
        yield Sample(cls((1, 1)), (TensorType(("N", 3)),), error="once")
        yield Sample(cls((1,)), (TensorType(("N", 3), "int64"),), error="floats")
