"""More activations: smooth functions made of exponentials (the ONNX operators of these names)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ops.activation import Activation


@dataclass(frozen=True)
class Celu(Activation):
    """x, or alpha * (exp(x / alpha) - 1) below 0: the slope at 0 is 1 for every alpha."""

    name: ClassVar[str] = "celu"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        self._finite("alpha")
        if self.alpha == 0:
            raise ShapeError("alpha must not be 0, x is divided by it")

    def apply(self, x: np.ndarray) -> np.ndarray:
        below = np.minimum(x, 0) / self.alpha
        return np.where(x < 0, self.alpha * np.expm1(below), x)

    def slope(self) -> float | None:
        return 1.0 if self.alpha > 0 else None

    def rounded(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # The rounding of x / alpha is a relative error of the exponential, times x / alpha.
        size = abs(y) if self.alpha > 0 else abs(y) * (1 + abs(x / self.alpha))
        return np.where(x < 0, abs(self.alpha) + size, 0)

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        yield from (cls(), cls(0.3), cls(2.0))


@dataclass(frozen=True)
class Selu(Activation):
    """gamma * x, or gamma * alpha * (exp(x) - 1) below 0; the defaults keep mean 0 and variance 1.

    Source: Klambauer et al., Self-Normalizing Neural Networks, 2017.
    """

    name: ClassVar[str] = "selu"
    alpha: float = 1.6732632423543772
    gamma: float = 1.0507009873554805

    def __post_init__(self) -> None:
        self._finite("alpha", "gamma")

    def apply(self, x: np.ndarray) -> np.ndarray:
        return self.gamma * np.where(x < 0, self.alpha * np.expm1(np.minimum(x, 0)), x)

    def slope(self) -> float:
        return abs(self.gamma) * max(1.0, abs(self.alpha))

    def rounded(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(x < 0, abs(self.alpha * self.gamma), abs(y))

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        yield from (cls(), cls(0.5, 2.0))


@dataclass(frozen=True)
class Softplus(Activation):
    """log(1 + exp(x))."""

    name: ClassVar[str] = "softplus"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


@dataclass(frozen=True)
class Softsign(Activation):
    """x / (1 + |x|)."""

    name: ClassVar[str] = "softsign"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x / (1 + abs(x))


@dataclass(frozen=True)
class Mish(Activation):
    """x * tanh(softplus(x)) (Misra, 2019)."""

    name: ClassVar[str] = "mish"

    def apply(self, x: np.ndarray) -> np.ndarray:
        # With e = exp(x): tanh(log(1 + e)) = ((1 + e)**2 - 1) / ((1 + e)**2 + 1) = p / (p + 2) where
        # p = e * (e + 2). Above 0 both are divided by e**2, so that nothing overflows.
        small = np.exp(-abs(x))
        gate = np.where(x > 0, 1 + 2 * small, small * (small + 2))
        return x * (gate / np.where(x > 0, gate + 2 * small * small, gate + 2))

    def slope(self) -> float:
        return 1.0885

    def rounded(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return abs(x)
