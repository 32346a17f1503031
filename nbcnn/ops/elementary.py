"""The elementary functions of one number (the ONNX operators of these names), element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.ops import check
from nbcnn.ops.activation import Activation
from nbcnn.ops.erf import erf

Range = tuple[float, float]


class _Elementary(Activation):
    """Infinite or NaN, without a warning, where the function is."""

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        with np.errstate(all="ignore"):
            return super().reference(*arrays)


class _Exact(_Elementary):
    """A function that rounds nothing."""

    def rounded(self, x: np.ndarray, y: np.ndarray) -> float:
        return 0.0


class _Steep(_Elementary):
    """A monotone or convex function without a largest slope."""

    def slope(self) -> None:
        return None


@dataclass(frozen=True)
class Abs(_Exact):
    """|x|."""

    name: ClassVar[str] = "abs"
    kinds: ClassVar[str] = check.NUMBERS

    def apply(self, x: np.ndarray) -> np.ndarray:
        return abs(x)


@dataclass(frozen=True)
class Neg(_Exact):
    """-x."""

    name: ClassVar[str] = "neg"
    kinds: ClassVar[str] = "fi"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return -x


@dataclass(frozen=True)
class Sign(_Exact, _Steep):
    """-1, 0 or 1."""

    name: ClassVar[str] = "sign"
    kinds: ClassVar[str] = check.NUMBERS

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.sign(x)


@dataclass(frozen=True)
class Floor(_Exact, _Steep):
    """The largest whole number that is not above x."""

    name: ClassVar[str] = "floor"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.floor(x)


@dataclass(frozen=True)
class Ceil(_Exact, _Steep):
    """The smallest whole number that is not below x."""

    name: ClassVar[str] = "ceil"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.ceil(x)


@dataclass(frozen=True)
class Round(_Exact, _Steep):
    """The nearest whole number, the even one of two."""

    name: ClassVar[str] = "round"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.rint(x)


@dataclass(frozen=True)
class Reciprocal(_Steep):
    """1 / x."""

    name: ClassVar[str] = "reciprocal"
    ranges: ClassVar[tuple[Range, ...]] = ((0.5, 4),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return 1 / x

    def carried(self, x: np.ndarray, e: np.ndarray) -> np.ndarray:
        return np.where((abs(x) <= e) & (e > 0), np.inf, super().carried(x, e))


@dataclass(frozen=True)
class Sqrt(_Steep):
    """The square root; NaN below 0."""

    name: ClassVar[str] = "sqrt"
    ranges: ClassVar[tuple[Range, ...]] = ((0.5, 9),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(x)


@dataclass(frozen=True)
class Exp(_Steep):
    """e to the power of x."""

    name: ClassVar[str] = "exp"
    ranges: ClassVar[tuple[Range, ...]] = ((-9, 5),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.exp(x)


@dataclass(frozen=True)
class Log(_Steep):
    """The natural logarithm; -inf at 0, NaN below."""

    name: ClassVar[str] = "log"
    ranges: ClassVar[tuple[Range, ...]] = ((0.5, 9),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.log(x)


@dataclass(frozen=True)
class Erf(_Elementary):
    """The error function: 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x."""

    name: ClassVar[str] = "erf"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return erf(x)

    def slope(self) -> float:
        return 1.1284


@dataclass(frozen=True)
class Sin(_Elementary):
    """The sine of x radians."""

    name: ClassVar[str] = "sin"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.sin(x)

    def rounded(self, x: np.ndarray, y: np.ndarray) -> float:
        return 1.0


@dataclass(frozen=True)
class Cos(_Elementary):
    """The cosine of x radians."""

    name: ClassVar[str] = "cos"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.cos(x)

    def rounded(self, x: np.ndarray, y: np.ndarray) -> float:
        return 1.0


@dataclass(frozen=True)
class Tan(_Steep):
    """The tangent of x radians."""

    name: ClassVar[str] = "tan"
    ranges: ClassVar[tuple[Range, ...]] = ((-1.2, 1.2),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.tan(x)

    def carried(self, x: np.ndarray, e: np.ndarray) -> np.ndarray:
        branch = np.floor((x - e) / np.pi + 0.5) != np.floor((x + e) / np.pi + 0.5)
        return np.where(branch, np.inf, super().carried(x, e))


@dataclass(frozen=True)
class Asin(_Steep):
    """The angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1]."""

    name: ClassVar[str] = "asin"
    ranges: ClassVar[tuple[Range, ...]] = ((-0.7, 0.7),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.arcsin(x)


@dataclass(frozen=True)
class Acos(_Steep):
    """The angle in [0, pi] whose cosine is x; NaN outside [-1, 1]."""

    name: ClassVar[str] = "acos"
    ranges: ClassVar[tuple[Range, ...]] = ((-0.7, 0.7),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.arccos(x)


@dataclass(frozen=True)
class Atan(_Elementary):
    """The angle in (-pi/2, pi/2) whose tangent is x."""

    name: ClassVar[str] = "atan"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.arctan(x)


@dataclass(frozen=True)
class Sinh(_Steep):
    """The hyperbolic sine, (exp(x) - exp(-x)) / 2."""

    name: ClassVar[str] = "sinh"
    ranges: ClassVar[tuple[Range, ...]] = ((-5, 5),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.sinh(x)


@dataclass(frozen=True)
class Cosh(_Steep):
    """The hyperbolic cosine, (exp(x) + exp(-x)) / 2."""

    name: ClassVar[str] = "cosh"
    ranges: ClassVar[tuple[Range, ...]] = ((-5, 5),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.cosh(x)


@dataclass(frozen=True)
class Asinh(_Elementary):
    """The number whose hyperbolic sine is x."""

    name: ClassVar[str] = "asinh"

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.arcsinh(x)


@dataclass(frozen=True)
class Acosh(_Steep):
    """The number from 0 up whose hyperbolic cosine is x; NaN below 1."""

    name: ClassVar[str] = "acosh"
    ranges: ClassVar[tuple[Range, ...]] = ((1.5, 9),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.arccosh(x)


@dataclass(frozen=True)
class Atanh(_Steep):
    """The number whose hyperbolic tangent is x; NaN outside [-1, 1]."""

    name: ClassVar[str] = "atanh"
    ranges: ClassVar[tuple[Range, ...]] = ((-0.7, 0.7),)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return np.arctanh(x)
