"""Batch normalisation at inference: y = (x - mean) / sqrt(var + epsilon) * weight + bias, per channel.

ONNX BatchNormalization; the weights bear torchvision's names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Param, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, rounding


@dataclass(frozen=True)
class BatchNorm(Op):
    """Normalises the channels (axis 1) of [N, C, ...] with stored statistics."""

    name: ClassVar[str] = "batch_norm"
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < np.inf:
            raise ShapeError(f"epsilon must be a number from 0 on, got {self.epsilon}")
        object.__setattr__(self, "epsilon", float(self.epsilon))

    def params(self, *types: TensorType) -> dict[str, Param]:
        vector = TensorType((self._channels(types[0]),), types[0].dtype)
        return {
            "weight": Param(vector, "scale"),
            "bias": Param(vector, "bias"),
            "running_mean": Param(vector, "running_mean", trainable=False),
            "running_var": Param(vector, "running_var", trainable=False),
        }

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self._channels(types[0])
        return (types[0],)

    def _channels(self, x: TensorType) -> int:
        if x.rank < 2:
            raise ShapeError(f"batch_norm takes [N, C, ...], got {x}")
        check.floating(x, self.name)
        return check.number(x.shape[1], x)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        weight, bias, mean, var = (_per_channel(a, x) for a in arrays[1:])
        return ((x - mean) * (weight / np.sqrt(var + x.dtype.type(self.epsilon))) + bias,)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        # Every way of computing it, folded into x*s + (bias - mean*s) or not, sums the same three
        # products in at most 6 roundings: 3 make s, 3 the sum. The weights are exact.
        x = arrays[0]
        weight, bias, mean, var = (_per_channel(a, x) for a in arrays[1:])
        scale = abs(weight) / np.sqrt(var + self.epsilon)
        size = scale * (abs(x) + bounds[0] + abs(mean)) + abs(bias)
        return (scale * bounds[0] + rounding.gamma(6, u) * size,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (TensorType(("N", 3, 4, 5)),))
        yield Sample(cls(1e-3), (TensorType(("N", 17, 3, 3)),), note="more than a vector")
        yield Sample(cls(), (TensorType(("N", 6)),), note="after dense")
        yield Sample(cls(), (TensorType(("N", 6, 9)),), note="signals")
        yield Sample(cls(), (TensorType(("N", 5, 2, 3, 4)),), note="volumes")
        yield Sample(cls(), (TensorType(("N",)),), error="[N, C, ...]")
        yield Sample(cls(), (TensorType(("N", "C")),), error="bound")


def _per_channel(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    return a.reshape(1, -1, *(1,) * (x.ndim - 2))
