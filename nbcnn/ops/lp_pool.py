"""Lp pooling: the p-norm of each window or of each whole plane (ONNX LpPool, GlobalLpPool).

y = (sum over the window of |x|^p) ^ (1/p); padding counts as zeros
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType
from nbcnn.ops import rounding, window
from nbcnn.ops.pool import whole_plane, whole_plane_samples
from nbcnn.ops.pool_window import PoolWindow


def _norm_error(
    op: Op, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
) -> tuple[np.ndarray, ...]:
    # A norm moves by no more than the norm of what its operands move by. Powers and the root round to
    # a few units each, the sum once a term.
    terms = op.reduction([TensorType(arrays[0].shape)]) + 2 * rounding.FEW
    carried, high = op.reference(*bounds)[0], op.reference(abs(arrays[0]) + bounds[0])[0]
    return (carried + rounding.gamma(terms, u) * high,)


@dataclass(frozen=True)
class LpPool(PoolWindow):
    """The p-norm of each window; ``stride`` defaults to the kernel."""

    name: ClassVar[str] = "lp_pool"
    kernel: window.Numbers
    p: int = 2
    stride: window.PoolStride = window.AS_KERNEL
    padding: window.AnyPadding = (0, 0, 0, 0)
    dilation: window.Numbers = (1, 1)
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        window.positive("p", self.p)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        taps = self.taps(abs(arrays[0]) ** self.p, beyond=0, padding=0)
        y = next(taps).copy()
        for seen in taps:
            y += seen
        return (y ** y.dtype.type(1 / self.p),)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return math.prod(self.at(inputs[0]).kernel)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return _norm_error(self, arrays, bounds, u)

    @classmethod
    def samples(cls: Any) -> Iterator[Sample]:
        def plane(*shape: int) -> tuple[TensorType, ...]:
            return (TensorType(("N", *shape)),)

        yield Sample(cls(3, 2, 2, 1), plane(3, 6, 7))
        yield Sample(cls(2, 1), plane(2, 4, 4), note="sums of sizes")
        yield Sample(cls((3, 2), 3, (1, 2), "same"), plane(2, 5, 4))
        yield Sample(cls(3, 2, 2, ceil_mode=True), plane(3, 8), note="signals")
        yield Sample(cls(2, 4, 1, 1, 2), plane(2, 3, 4, 3), note="volumes, dilated")
        yield Sample(cls(5), plane(2, 4, 4), error="larger")
        yield Sample(cls(2), (TensorType(("N", 2, 4, 4), "int64"),), error="floats")


@dataclass(frozen=True)
class GlobalLpPool(Op):
    """The p-norm of each plane: [N, C, H, W] to [N, C, 1, 1], and likewise with one axis or three."""

    name: ClassVar[str] = "global_lp_pool"
    p: int = 2

    def __post_init__(self) -> None:
        window.positive("p", self.p)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return whole_plane(types[0], self.name)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        total = (abs(x) ** self.p).sum(axis=tuple(range(2, x.ndim)), keepdims=True)
        return (total ** x.dtype.type(1 / self.p),)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        return math.prod(int(d) for d in inputs[0].shape[2:])

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        return _norm_error(self, arrays, bounds, u)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from whole_plane_samples(cls())
        yield Sample(cls(3), (TensorType(("N", 2, 3, 4)),), note="cubes")
