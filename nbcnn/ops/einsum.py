"""Sums of products by the letters of axes (ONNX Einsum, numpy.einsum): ``nij,njk->nik``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.op import Op, Sample
from nbcnn.ir.types import Dim, TensorType
from nbcnn.ops import check, rounding

_TERM = r"[A-Za-z]*(\.\.\.)?[A-Za-z]*"
_EQUATION = re.compile(rf"{_TERM}(,{_TERM})*(->{_TERM})?")


@dataclass(frozen=True)
class Einsum(Op):
    """Axes of one letter go together; those whose letter the result lacks are summed; ``...`` is broadcast.

    Without ``->`` the result has the letters that occur once, in the order of the alphabet.
    """

    name: ClassVar[str] = "einsum"
    operands: ClassVar[tuple[str, ...]] = ("*x",)
    equation: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "equation", "".join(self.equation.split()))
        if not _EQUATION.fullmatch(self.equation):
            raise ShapeError(f"'{self.equation}' is no equation such as 'nij,njk->nik'")
        _, result = self._terms()
        if len(set(letters := result.replace("...", ""))) < len(letters):
            raise ShapeError(f"'{self.equation}' names an axis of the result twice")

    def _terms(self) -> tuple[list[str], str]:
        """The letters of each operand, and those of the result."""
        left, arrow, right = self.equation.partition("->")
        terms = left.split(",")
        if arrow:
            return terms, right
        letters = sorted(left.replace(".", "").replace(",", ""))
        return terms, ("..." if "..." in left else "") + "".join(c for c in letters if letters.count(c) == 1)

    def _extents(self, types: Sequence[TensorType]) -> tuple[dict[str, Dim], tuple[Dim, ...]]:
        """The extent of each letter, and those of the ellipsis."""
        terms, result = self._terms()
        if len(terms) != len(types):
            raise ShapeError(f"'{self.equation}' takes {len(terms)} operands, got {len(types)}")
        found: dict[str, Dim] = {}
        wide: list[TensorType] = []
        for term, type_ in zip(terms, types, strict=True):
            first, dots, last = term.partition("...")
            rest = type_.rank - len(first) - len(last)
            if rest < 0 or (rest and not dots):
                raise ShapeError(f"'{term}' does not name the axes of {type_}")
            wide.append(TensorType(type_.shape[len(first) : len(first) + rest]))
            extents = (*type_.shape[: len(first)], *type_.shape[type_.rank - len(last) :])
            for letter, extent in zip(first + last, extents, strict=True):
                if found.setdefault(letter, extent) != extent:
                    raise ShapeError(f"axis '{letter}' has {found[letter]} and {extent} elements")
        if unknown := set(result.replace("...", "")) - set(found):
            raise ShapeError(f"'{self.equation}' has no axis '{min(unknown)}' among its operands")
        shape = check.broadcast_shape(wide, self.name)
        if shape and "..." not in result:
            raise ShapeError(f"'{self.equation}' leaves out the axes of '...'")
        return found, shape

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        for type_ in types:
            check.kinds(type_, self.name, check.NUMBERS)
            if type_.dtype != types[0].dtype:
                raise ShapeError(f"einsum takes operands of one dtype, got {types[0]} and {type_}")
        found, wide = self._extents(types)
        first, dots, last = self._terms()[1].partition("...")
        for letter, extent in found.items():
            if letter not in first + last:
                check.extent(0, TensorType((extent,)), self.name)  # summed: no batch
        shape = (*(found[c] for c in first), *(wide if dots else ()), *(found[c] for c in last))
        return (check.result(shape, types[0].dtype, self.name),)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        known = (a if a.dtype.kind in "fiu" else a.astype(np.float32) for a in arrays)  # bfloat16 is not
        y = np.einsum(self.equation, *known, optimize=len(arrays) > 1)
        return (np.array(y, arrays[0].dtype),)

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements() * self.reduction(inputs)

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        found, _ = self._extents(inputs)
        return max(math.prod(int(d) for c, d in found.items() if c not in self._terms()[1]), 1)

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        terms = self.reduction([TensorType(a.shape) for a in arrays]) * max(len(arrays) - 1, 1)
        return rounding.multilinear(self, arrays, bounds, terms, u)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        maps, rows = TensorType(("N", 3, 4)), TensorType(("N", 4, 5))
        yield Sample(cls("nij,njk->nik"), (maps, rows), note="matrices of each image")
        yield Sample(cls("nij, nik -> nkj"), (maps, TensorType(("N", 3, 2))), note="along columns")
        yield Sample(cls("...i,i->..."), (maps, TensorType((4,))), note="broadcast")
        yield Sample(cls("nij->nj"), (maps,), note="a sum")
        yield Sample(cls("nii->ni"), (TensorType(("N", 3, 3)),), note="diagonals")
        yield Sample(cls("ij,jk,kl"), (TensorType((2, 3)), TensorType((3, 4)), TensorType((4, 2))))
        yield Sample(cls("i,i"), (TensorType((5,), "int64"), TensorType((5,), "int64")), note="integers")
        yield Sample(cls("nij->ij"), (maps,), error="batch")
        yield Sample(cls("nij->inj"), (maps,), error="first axis")
        yield Sample(cls("nij,njk->nik"), (maps, maps), error="axis 'j'")
        yield Sample(cls("ni->n"), (maps,), error="does not name")
        yield Sample(cls("n...->n"), (maps,), error="leaves out")
        yield Sample(cls("nij->nk"), (maps,), error="no axis 'k'")
