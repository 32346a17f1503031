"""Activations: functions of one number, applied to every element (the ONNX operators of these names).

All are computed in the dtype of the array and never overflow on the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType, is_float
from nbcnn.ops import check, rounding
from nbcnn.ops.erf import erfc


class Activation(Op):
    """Base of the functions of one number; a subclass gives `apply`, `slope` and `rounded`."""

    kinds: ClassVar[str] = check.FLOATS
    ranges: ClassVar[tuple[tuple[float, float], ...]] = ()

    def apply(self, x: np.ndarray) -> np.ndarray:
        """The function itself."""
        raise NotImplementedError

    def slope(self) -> float | None:
        """The largest absolute slope: by how much it can stretch an error of its operand.

        None for a function without one: it has to be monotone or convex.
        """
        return 1.0

    def rounded(self, x: np.ndarray, y: np.ndarray) -> np.ndarray | float:
        """The size that evaluation rounds to `rounding.FEW` units; 0 where nothing is rounded."""
        return abs(y)

    def carried(self, x: np.ndarray, e: np.ndarray) -> np.ndarray:
        """How far the result moves when x moves within ``e``."""
        slope = self.slope()
        return rounding.corners(self, (x,), (e,))[0] if slope is None else slope * e

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        check.kinds(types[0], self.name, self.kinds)
        return (types[0],)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(self.apply(arrays[0]), arrays[0].dtype),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        (x,), (e,) = arrays, bounds
        if not is_float(x.dtype):
            return (np.zeros(x.shape),)
        carried = self.carried(x, e)
        return (carried + rounding.FEW * u * (self.rounded(x, self.reference(x)[0]) + carried),)

    def _finite(self, *fields: str) -> None:
        for field in fields:
            value = float(getattr(self, field))
            if not math.isfinite(value):
                raise ShapeError(f"{field} must be a finite number, got {value}")
            object.__setattr__(self, field, value)

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        """Instances that samples try."""
        yield cls()

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for op in cls.variants():
            yield Sample(op, (TensorType(("N", 1)),), ranges=cls.ranges)
            yield Sample(op, (TensorType(("N", 5, 3, 7)),), ranges=cls.ranges)
            yield Sample(op, (TensorType(("N", 300)),), note="several vectors and a rest", ranges=cls.ranges)
            yield Sample(op, (TensorType(("N", 6, 5)),), note="rank 3", ranges=cls.ranges)
            for dtype in ("int32", "uint8", "bool"):
                whole = TensorType(("N", 4), dtype)
                allowed = check.kind(whole) in cls.kinds
                yield Sample(op, (whole,)) if allowed else Sample(op, (whole,), error="floats")


@dataclass(frozen=True)
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    name: ClassVar[str] = "sigmoid"

    def apply(self, x: np.ndarray) -> np.ndarray:
        small = np.exp(-abs(x))  # at most 1: nothing overflows
        return np.where(x >= 0, x.dtype.type(1), small) / (1 + small)

    def slope(self) -> float:
        return 0.25

    def rounded(self, x: np.ndarray, y: np.ndarray) -> float:
        return 1.0


@dataclass(frozen=True)
class Tanh(Activation):
    """The hyperbolic tangent."""

    name: ClassVar[str] = "tanh"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x)

    def rounded(self, x: np.ndarray, y: np.ndarray) -> float:
        return 1.0


@dataclass(frozen=True)
class Relu(Activation):
    """max(x, 0)."""

    name: ClassVar[str] = "relu"
    kinds: ClassVar[str] = "fi"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    def rounded(self, x: np.ndarray, y: np.ndarray) -> float:
        return 0.0


@dataclass(frozen=True)
class Relu6(Activation):
    """min(max(x, 0), 6) (ONNX Clip)."""

    name: ClassVar[str] = "relu6"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(x, 0), 6)

    def rounded(self, x: np.ndarray, y: np.ndarray) -> float:
        return 0.0


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """x, or alpha*x below 0."""

    name: ClassVar[str] = "leaky_relu"
    alpha: float = 0.01

    def __post_init__(self) -> None:
        self._finite("alpha")

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, x * self.alpha, x)

    def slope(self) -> float:
        return max(1.0, abs(self.alpha))

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        yield from (cls(), cls(0.2), cls(-0.5))


@dataclass(frozen=True)
class Elu(Activation):
    """x, or alpha*(exp(x) - 1) below 0."""

    name: ClassVar[str] = "elu"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        self._finite("alpha")

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, self.alpha * np.expm1(np.minimum(x, 0)), x)

    def slope(self) -> float:
        return max(1.0, abs(self.alpha))

    def rounded(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(x < 0, abs(self.alpha), 0)

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        yield from (cls(), cls(0.3))


class _Gated(Activation):
    """x times a gate between 0 and 1, the gate rounded to a few units of 1."""

    def rounded(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return abs(x)


@dataclass(frozen=True)
class Silu(_Gated):
    """x * sigmoid(alpha * x) (ONNX Swish; alpha 1 is the usual silu)."""

    name: ClassVar[str] = "silu"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        self._finite("alpha")

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x * Sigmoid().apply(self.alpha * x)

    def slope(self) -> float:
        return 1.1

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        yield from (cls(), cls(0.5), cls(-2.0))


@dataclass(frozen=True)
class HardSwish(_Gated):
    """x * min(max(x + 3, 0), 6) / 6."""

    name: ClassVar[str] = "hard_swish"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x * (np.minimum(np.maximum(x + 3, 0), 6) / 6)

    def slope(self) -> float:
        return 1.5


@dataclass(frozen=True)
class HardSigmoid(Activation):
    """min(max(alpha*x + beta, 0), 1); the defaults are PyTorch's (ONNX has alpha 0.2)."""

    name: ClassVar[str] = "hard_sigmoid"
    alpha: float = 1 / 6
    beta: float = 0.5

    def __post_init__(self) -> None:
        self._finite("alpha", "beta")

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(self.alpha * x + self.beta, 0), 1)

    def slope(self) -> float:
        return abs(self.alpha)

    def rounded(self, x: np.ndarray, y: np.ndarray) -> float:
        return 1.0 + 2 * abs(self.beta)  # where the result is not clipped, |alpha*x| <= 1 + |beta|

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        yield from (cls(), cls(0.2, 0.4))


@dataclass(frozen=True)
class Gelu(_Gated):
    """x * P(z < x) for a normal z, or with ``approximate: tanh`` its approximation by a tanh."""

    name: ClassVar[str] = "gelu"
    approximate: Literal["none", "tanh"] = "none"

    def __post_init__(self) -> None:
        if self.approximate not in ("none", "tanh"):
            raise ShapeError(f"approximate must be 'none' or 'tanh', got '{self.approximate}'")

    def apply(self, x: np.ndarray) -> np.ndarray:
        if self.approximate == "none":
            return x * (0.5 * erfc(x * -math.sqrt(0.5)))
        bent = np.clip(x, -100, 100)  # the tanh is flat out there, and the cube would overflow
        return x * (0.5 + 0.5 * np.tanh(math.sqrt(2 / math.pi) * (bent + 0.044715 * bent**3)))

    def slope(self) -> float:
        return 1.13

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        yield from (cls(), cls("tanh"))
