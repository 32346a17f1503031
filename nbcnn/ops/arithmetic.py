"""Arithmetic on two operands, with NumPy's broadcasting both ways (the ONNX operators of these names)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import TensorType, is_float
from nbcnn.ops import check, rounding

Range = tuple[float, float]


class Binary(Op):
    """Base of the element-wise operators on two operands of one dtype; a subclass gives `apply`."""

    operands: ClassVar[tuple[str, ...]] = ("a", "b")
    kinds: ClassVar[str] = check.NUMBERS
    ranges: ClassVar[tuple[Range, ...]] = ()
    roundings: ClassVar[int] = 1

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The function itself, in the dtype of its operands; warnings are off."""
        raise NotImplementedError

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        for type_ in types:
            check.kinds(type_, self.name, self.kinds)
        return (check.broadcast(types[0], types[1], self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        with np.errstate(all="ignore"):
            return (np.asarray(self.apply(*arrays)),)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        (y,) = self.reference(*arrays)
        if y.dtype.kind in "iu":
            return (np.zeros(y.shape),)
        carried = self.carried(arrays, bounds)
        if y.dtype.kind == "b" or not self.roundings:
            return (carried,)
        return (carried + self.roundings * u * (abs(y) + carried),)

    def carried(self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray]) -> np.ndarray:
        """How far the result moves when the operands move within ``bounds``."""
        return rounding.corners(self, arrays, bounds)[0]

    @classmethod
    def variants(cls) -> Iterator[Binary]:
        """Instances that samples try."""
        yield cls()

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        dtype = "float32" if "f" in cls.kinds else "bool" if cls.kinds == check.TRUTH else "int32"

        def of(*shape: int | str, dtype: str = dtype) -> TensorType:
            return TensorType(shape, dtype)

        image = of("N", 5, 4, 3)
        for op in cls.variants():
            for a, b, note in (
                (image, image, ""),
                (image, of("N", 5, 1, 1), "squeeze and excitation"),
                (of("N", 5, 1, 1), image, "the other way round"),
                (image, of(5, 1, 1), "constant per channel"),
                (of("N", 1, 4, 3), of(5, 1, 1), "both ways"),
                (image, of(), "scalar"),
                (of("N", 7), of("N", 7), ""),
                (of("N", 2, 3, 4, 5), of(2, 1, 1, 5), "rank 5"),
            ):
                yield Sample(op, (a, b), note=note, ranges=cls.ranges)
        yield Sample(cls(), (image, of("N", 4, 4, 3)), error="axis 1")
        yield Sample(cls(), (image, of(3, 5, 4, 3)), error="axis 0")
        yield Sample(cls(), (image, of("N")), error="axis 3")
        yield from cls.mixed()

    @classmethod
    def mixed(cls) -> Iterator[Sample]:
        """Samples of other dtypes."""
        for dtype in ("float64", "int32", "uint8", "bool"):
            letter = check.kind(TensorType((), dtype))
            type_ = TensorType(("N", 4, 3), dtype)
            if letter in cls.kinds:
                whole = letter in "iu" and bool(cls.ranges)
                yield Sample(cls(), (type_, type_), ranges=((1, 7),) * 2 if whole else cls.ranges)
            else:
                yield Sample(cls(), (type_, type_), error="takes")
        other = "int64" if cls.kinds != check.FLOATS else "float16"
        yield Sample(cls(), (TensorType(("N", 4), "float32"), TensorType(("N", 4), other)), error="takes")


@dataclass(frozen=True)
class Add(Binary):
    """a + b."""

    name: ClassVar[str] = "add"

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a + b

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        if not is_float(arrays[0].dtype):
            return super().error(arrays, bounds, u)
        return rounding.multilinear(Add(), arrays, bounds, 1, u)


@dataclass(frozen=True)
class Sub(Add):
    """a - b."""

    name: ClassVar[str] = "sub"

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a - b


@dataclass(frozen=True)
class Mul(Binary):
    """a * b."""

    name: ClassVar[str] = "mul"

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * b

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        if not is_float(arrays[0].dtype):
            return super().error(arrays, bounds, u)
        return rounding.multilinear(self, arrays, bounds, 1, u)


@dataclass(frozen=True)
class Div(Binary):
    """a / b; of integers the quotient without its fraction (7 / -2 is -3), and 0 where b is 0."""

    name: ClassVar[str] = "div"
    ranges: ClassVar[tuple[Range, ...]] = ((-3, 3), (0.5, 4))
    roundings: ClassVar[int] = 2  # as a product with the inverse of b, where that is cheaper

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if is_float(a.dtype):
            return a / b
        divisor = np.where(b == 0, b.dtype.type(1), b)
        down = a // divisor
        upwards = (down * divisor != a) & ((a < 0) != (divisor < 0))
        return np.where(b == 0, a.dtype.type(0), down + upwards.astype(a.dtype))

    def carried(self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray]) -> np.ndarray:
        reaches_zero = (abs(arrays[1]) <= bounds[1]) & (bounds[1] > 0)
        return np.where(reaches_zero, np.inf, super().carried(arrays, bounds))


@dataclass(frozen=True)
class Pow(Binary):
    """a to the power of b, in the dtype of a; b may have another one."""

    name: ClassVar[str] = "pow"
    ranges: ClassVar[tuple[Range, ...]] = ((0.5, 3), (-2, 3))
    roundings: ClassVar[int] = rounding.FEW

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        for type_ in types:
            check.kinds(type_, self.name, self.kinds)
        return (TensorType(check.broadcast_shape(types, self.name), types[0].dtype),)

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if is_float(a.dtype) or is_float(b.dtype):
            return np.power(a, b).astype(a.dtype)
        inverse = np.where(abs(a) == 1, a ** (abs(b) % 2), a.dtype.type(0))  # without its fraction
        return np.where(b < 0, inverse, np.power(a, np.maximum(b, 0))).astype(a.dtype)

    @classmethod
    def mixed(cls) -> Iterator[Sample]:
        for a, b in (("float32", "int64"), ("int32", "float32"), ("int32", "int64"), ("float64", "float64")):
            types = TensorType(("N", 4), a), TensorType(("N", 4), b)
            yield Sample(cls(), types, ranges=((1, 3), (0, 3)))
        yield Sample(cls(), (TensorType(("N",), "bool"), TensorType(("N",))), error="takes")


@dataclass(frozen=True)
class Mod(Binary):
    """The rest of a / b: with the sign of b, or with ``fmod`` that of a."""

    name: ClassVar[str] = "mod"
    ranges: ClassVar[tuple[Range, ...]] = ((-5, 5), (1, 3))
    fmod: bool = False

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.fmod(a, b) if self.fmod else np.mod(a, b)

    def carried(self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray]) -> np.ndarray:
        # a - times * b: while the quotient stays, errors of b count as often as b was taken away.
        (apart,) = rounding.corners(_Times(self.fmod), arrays, bounds)
        times = abs(_Times(self.fmod).reference(*arrays)[0])
        moved = bounds[0] + times * bounds[1]
        return np.where(apart > 0, moved + 2 * (abs(arrays[1]) + bounds[1]), moved)

    @classmethod
    def variants(cls) -> Iterator[Binary]:
        yield from (cls(), cls(fmod=True))

    @classmethod
    def mixed(cls) -> Iterator[Sample]:
        for dtype in ("int32", "uint8", "float64"):
            for op in cls.variants():
                yield Sample(op, (TensorType(("N", 4), dtype),) * 2, ranges=((1, 9), (1, 4)))


@dataclass(frozen=True)
class _Times(Binary):
    """How often b goes into a."""

    fmod: bool

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.trunc(a / b) if self.fmod else np.floor(a / b)


@dataclass(frozen=True)
class Minimum(Binary):
    """The smaller of a and b; NaN where either is (ONNX Min of two)."""

    name: ClassVar[str] = "minimum"
    roundings: ClassVar[int] = 0

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.minimum(a, b)


@dataclass(frozen=True)
class Maximum(Binary):
    """The larger of a and b; NaN where either is (ONNX Max of two)."""

    name: ClassVar[str] = "maximum"
    roundings: ClassVar[int] = 0

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.maximum(a, b)


@dataclass(frozen=True)
class Prelu(Binary):
    """x, or slope * x below 0; the slope broadcasts to the shape of x."""

    name: ClassVar[str] = "prelu"
    kinds: ClassVar[str] = check.FLOATS
    operands: ClassVar[tuple[str, ...]] = ("x", "slope")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (y,) = super().infer(*types)
        if y != types[0]:
            raise ShapeError(f"prelu of {types[0]} takes a slope that broadcasts to it, got {types[1]}")
        return (y,)

    def apply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(a < 0, a * b, a)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for sample in super().samples():
            grows = sample.error is None and check.broadcast_shape(sample.types, "") != sample.types[0].shape
            yield replace(sample, error="slope") if grows else sample
