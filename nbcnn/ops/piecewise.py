"""Activations made of straight pieces: clip, thresholds (the ONNX operators of these names)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ops import check
from nbcnn.ops.activation import Activation


@dataclass(frozen=True)
class Clip(Activation):
    """min(max(x, min), max); a bound that is not given does not bound. ``max`` rules where min > max."""

    name: ClassVar[str] = "clip"
    kinds: ClassVar[str] = check.NUMBERS
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        for field in ("min", "max"):
            if getattr(self, field) is not None:
                self._finite(field)

    def apply(self, x: np.ndarray) -> np.ndarray:
        if self.min is not None:
            x = np.maximum(x, within(x.dtype, self.min))
        if self.max is not None:
            x = np.minimum(x, within(x.dtype, self.max))
        return x

    def slope(self) -> float:
        flat = self.min is not None and self.max is not None and self.min >= self.max
        return 0.0 if flat else 1.0

    def rounded(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # A bound such as 0.1 is rounded once, to the dtype of x.
        bounds = [b for b in (self.min, self.max) if b is not None and b != float(np.float32(b))]
        return np.where(np.isin(y, bounds), abs(y), 0)

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        yield from (cls(), cls(0.0), cls(None, 0.5), cls(-1.0, 0.1), cls(2.0, 1.0))


def within(dtype: np.dtype, bound: float) -> np.generic:
    """``bound`` as a number of ``dtype``, the nearest one there is."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return dtype.type(min(max(int(bound), int(limits.min)), int(limits.max)))
    return dtype.type(bound)


@dataclass(frozen=True)
class ThresholdedRelu(Activation):
    """x where it is above alpha, else 0."""

    name: ClassVar[str] = "thresholded_relu"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        self._finite("alpha")

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > self.alpha, x, x.dtype.type(0))

    def carried(self, x: np.ndarray, e: np.ndarray) -> np.ndarray:
        jumps = (abs(x - self.alpha) <= e) & (e > 0)
        return e + jumps * abs(self.alpha)

    def slope(self) -> None:
        return None

    def rounded(self, x: np.ndarray, y: np.ndarray) -> float:
        return 0.0

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        yield from (cls(), cls(0.25), cls(-0.5))


@dataclass(frozen=True)
class Shrink(Activation):
    """x + bias below -lambd, x - bias above lambd, 0 between: hard or soft shrinkage."""

    name: ClassVar[str] = "shrink"
    bias: float = 0.0
    lambd: float = 0.5

    def __post_init__(self) -> None:
        self._finite("bias", "lambd")
        if self.lambd < 0:
            raise ShapeError(f"lambd must not be negative, got {self.lambd}")

    def apply(self, x: np.ndarray) -> np.ndarray:
        inside = np.where(x > self.lambd, x - self.bias, x.dtype.type(0))
        return np.where(x < -self.lambd, x + self.bias, inside)

    def carried(self, x: np.ndarray, e: np.ndarray) -> np.ndarray:
        jumps = (abs(abs(x) - self.lambd) <= e) & (e > 0)
        both = (abs(x) + self.lambd <= e) & (e > 0)
        return e + (jumps * 1.0 + both) * abs(self.lambd - self.bias)

    def rounded(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``bias`` itself is rounded, however small what is left of ``x``."""
        return abs(y) + abs(self.bias)

    def slope(self) -> None:
        return None

    @classmethod
    def variants(cls) -> Iterator[Activation]:
        yield from (cls(), cls(0.5), cls(1.5, 0.25))
