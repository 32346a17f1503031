"""Dense (fully connected, ONNX Gemm with transB=1): y[n, o] = b[o] + sum over i of w[o, i] * x[n, i]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Param, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import check, rounding, window


@dataclass(frozen=True)
class Dense(Op):
    """``channels`` weighted sums of [N, F]; weight [channels, F]."""

    name: ClassVar[str] = "dense"
    channels: int
    bias: bool = True

    def __post_init__(self) -> None:
        window.positive("channels", self.channels)

    def params(self, *types: TensorType) -> dict[str, Param]:
        features = self._features(types[0])
        params = {"weight": Param(TensorType((self.channels, features), types[0].dtype), "he")}
        if self.bias:
            params["bias"] = Param(TensorType((self.channels,), types[0].dtype), "bias")
        return params

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self._features(types[0])
        return (TensorType((types[0].shape[0], self.channels), types[0].dtype),)

    def _features(self, x: TensorType) -> int:
        if x.rank != 2:
            raise ShapeError(f"dense takes rows [N, F], got {x}: put a flatten before it")
        check.floating(x, self.name)
        return check.number(x.shape[1], x)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, weight, *bias = arrays
        y = x @ weight.T
        return (y + bias[0] if bias else y,)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements() * self.reduction(inputs)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return int(inputs[0].shape[1])

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return rounding.multilinear(self, arrays, bounds, arrays[0].shape[1] + self.bias, u)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (TensorType(("N", 1)),))
        yield Sample(cls(10), (TensorType(("N", 84)),))
        yield Sample(cls(7, bias=False), (TensorType(("N", 33)),))
        yield Sample(cls(70), (TensorType(("N", 257)),), note="several panels")
        yield Sample(cls(4), (TensorType(("N", 3, 2, 2)),), error="flatten")
        yield Sample(cls(4), (TensorType(("N", "F")),), error="bound")
        yield Sample(cls(4), (TensorType(("N", 8), "int64"),), error="floats")
