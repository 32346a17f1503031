"""What normalisation by the operand's own mean and variance shares.

y = (x - mean) / sigma * weight + bias,   sigma = sqrt(variance + epsilon)

over groups of elements that an operator names by a view of its operand and the axes of that view which are
averaged. A bound on y' - y, where every x' lies within e of x: the distances from the mean move by at most
D = e + mean(e), and sigma, which is a norm of them and of sqrt(epsilon), by at most that norm of D, s = the
root of the mean of D^2. With d = |x - mean| and low = max(sigma - s, sqrt(epsilon))

    |d'/sigma' - d/sigma| <= (D + d * s / sigma) / low

and as no distance exceeds sqrt(k) * sigma among k elements, by no more than 2 * sqrt(k) in any case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Param
from nbcnn.ir.types import TensorType
from nbcnn.ops import rounding


class Normalise(Op):
    """Base of these operators, frozen dataclasses."""

    CENTRED: ClassVar[bool] = True
    """Whether the mean is taken away."""

    def groups(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shape of the view of an operand of ``shape``, and the axes along which it is averaged."""
        raise NotImplementedError

    def sigma(self, variance: np.ndarray) -> np.ndarray:
        """What is divided by."""
        raise NotImplementedError

    def floor(self) -> float:
        """The least that `sigma` gives."""
        raise NotImplementedError

    def affine(self, weights: Sequence[np.ndarray], ndim: int) -> list[np.ndarray]:
        """Weight and bias, as far as there are any, shaped to meet an operand of ``ndim`` axes."""
        return [w.reshape(-1, *(1,) * (ndim - 2)) for w in weights]

    def standard(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(x - mean) / sigma in the shape of ``x``; mean and sigma in that of the view."""
        view, axes = self.groups(x.shape)
        parts = x.reshape(view)
        mean = parts.mean(axes, keepdims=True) if self.CENTRED else parts.dtype.type(0)
        away = parts - mean
        sigma = self.sigma(np.square(away).mean(axes, keepdims=True))
        return (away / sigma).reshape(x.shape), np.asarray(mean), sigma

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, *weights = (wide(a) for a in arrays)
        y = self.standard(x)[0]
        for combine, w in zip((np.multiply, np.add), self.affine(weights, x.ndim), strict=False):
            y = combine(y, w)
        return (y.astype(arrays[0].dtype),)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        view, axes = self.groups(inputs[0].extents())
        return math.prod(view[a] for a in axes)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        x, *weights = arrays
        y, carried, *_ = self.moved(x, bounds[0], u)
        size = abs(y) + carried
        scale, *shift = [abs(w) for w in self.affine(weights, x.ndim)] or [np.ones(1)]
        # The sum of squares rounds once a term, the root halves that; a few roundings make y of it.
        own = rounding.gamma(self.reduction([TensorType(x.shape)]) + rounding.FEW, u) * size
        total = scale * (carried + own) + rounding.gamma(3, u) * scale * (size + own)
        return (total + (rounding.gamma(3, u) * shift[0] if shift else 0),)

    def moved(self, x: np.ndarray, e: np.ndarray, u: float) -> tuple[np.ndarray, ...]:
        """(x - mean) / sigma and how far it may be off for an ``x`` off by ``e``; mean, sigma likewise."""
        view, axes = self.groups(x.shape)
        count = math.prod(view[a] for a in axes)
        y, mean, sigma = self.standard(x)
        parts, e = abs(x).reshape(view), e.reshape(view)
        away = abs(y).reshape(view) * sigma
        off_mean = np.zeros(1)
        if self.CENTRED:
            size = (parts + e).mean(axes, keepdims=True)
            off_mean = e.mean(axes, keepdims=True) + rounding.gamma(count, u) * size
        moved = e + off_mean
        moved = moved + u * (away + moved)
        s = np.sqrt(np.square(moved).mean(axes, keepdims=True))
        low = np.maximum(sigma - s, self.floor())
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.minimum((moved + away * s / sigma) / low, 2 * math.sqrt(count))
            off_inverse = s / (sigma * low)
        return y, np.nan_to_num(off).reshape(x.shape), mean, off_mean, sigma, off_inverse


class Epsilon(Normalise):
    """Those of them that divide by sqrt(variance + epsilon)."""

    epsilon: float

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < np.inf:
            raise ShapeError(f"epsilon must be a number from 0 on, got {self.epsilon}")
        object.__setattr__(self, "epsilon", float(self.epsilon))

    def sigma(self, variance: np.ndarray) -> np.ndarray:
        return np.sqrt(variance + variance.dtype.type(self.epsilon))

    def floor(self) -> float:
        return math.sqrt(self.epsilon)


def wide(a: np.ndarray) -> np.ndarray:
    """``a`` in the dtype that statistics are computed in: at least float32 (ONNX stash_type 1)."""
    return a.astype(np.float32) if a.dtype == np.float16 else a


def per_channel(x: TensorType, bias: bool) -> dict[str, Param]:
    """A weight and a bias for each channel of ``x``."""
    vector = TensorType((x.shape[1],), x.dtype)
    weight = {"weight": Param(vector, "scale")}
    return weight | ({"bias": Param(vector, "bias")} if bias else {})
