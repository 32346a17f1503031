"""The contract of an operator: a frozen dataclass whose fields are its attributes (its YAML keys)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from nbcnn.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Param:
    """A weight that an operator takes beside its data operands.

    ``init`` names the seeded initialiser that draws it when no file holds it
    (``he``, ``bias``, ``scale``, ``running_mean``, ``running_var``, ``zeros``, ``ones``);
    ``trainable`` is False for statistics.
    """

    type: TensorType
    init: str = "he"
    trainable: bool = True


@dataclass(frozen=True, slots=True)
class Work:
    """What one application costs at batch 1: multiply-accumulates, and bytes read and written."""

    macs: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.macs + other.macs,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
        )


@dataclass(frozen=True)
class Sample:
    """A small case that generic tests run: an operator and the types of its data operands.

    ``error`` is a word that the ShapeError must hold when the case is one that must be refused.
    ``ranges`` holds, for each data operand, the closed interval that its elements are drawn from: where
    the operator is defined (indices, a divisor, what stands under a root). Empty: any numbers.
    """

    op: Op
    types: tuple[TensorType, ...]
    error: str | None = None
    note: str = field(default="", compare=False)
    ranges: tuple[tuple[float, float], ...] = ()


class Op:
    """Base of all operators. Subclasses are frozen dataclasses, one file per family in ``nbcnn/ops``.

    ``name`` is the YAML word; ``operands`` names the data operands in slot order, a last one that
    begins with ``*`` takes any number (at least one). Weights follow the data operands.
    """

    name: ClassVar[str]
    operands: ClassVar[tuple[str, ...]] = ("x",)

    def params(self, *types: TensorType) -> dict[str, Param]:
        """The weights this operator takes for data operands of these types, in slot order."""
        return {}

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        """Output types for data operands of these types; raises ShapeError with the reason."""
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The meaning in plain NumPy, in the dtype of the arrays: data operands, then weights."""
        raise NotImplementedError

    def work(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Work:
        """Cost at batch 1; ``inputs`` holds the types of data operands and weights."""
        return Work(
            self.macs(inputs, outputs),
            sum(t.nbytes() for t in inputs),
            sum(t.nbytes() for t in outputs),
        )

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Multiply-accumulates at batch 1 (0 for what is not a product sum)."""
        return 0

    def reduction(self, inputs: Sequence[TensorType]) -> int:
        """Length of the longest sum that makes one output element: error bounds grow with it."""
        return 1

    def error(
        self, arrays: Sequence[np.ndarray], bounds: Sequence[np.ndarray], u: float
    ) -> tuple[np.ndarray, ...]:
        """Elementwise bound on |computed - exact| for an implementation of unit roundoff ``u``.

        ``arrays`` are exact operands, floats in float64; ``bounds`` how far each may already be off (the
        same shapes, not negative, zeros for what is no float). The default holds for what rounds nothing
        and obeys |f(x + e) - f(x)| <= f(|e|): moves, maxima, relu. Everything else overrides it.
        Integers and truth values are exact: operands are read as they are, results are never off.
        """
        exact = zip(arrays, bounds, strict=True)
        results = self.reference(*(e if a.dtype.kind == "f" else a for a, e in exact))
        return tuple(r if r.dtype.kind == "f" else np.zeros(r.shape) for r in results)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Small edge-first cases, good and bad, that every generic test runs."""
        raise NotImplementedError

    @property
    def variadic(self) -> bool:
        return bool(self.operands) and self.operands[-1].startswith("*")

    def data_count(self, total: int) -> int:
        """How many of a node's ``total`` operands are data (the rest are weights)."""
        return total if self.variadic else min(total, len(self.operands))
