"""Weights: named constants of a graph, loaded when first used, never changed in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nbcnn.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Where the zeros of the weight of a convolution or dense layer lie; the pass ``sparsify`` finds it out.

    ``zeros`` is the share of zero elements. ``block`` consecutive output channels (1, 4, 8 or 16) share one
    set of stored positions: those where at least one of the block is not zero, hardly any of them zeros.
    ``pattern`` is the most regular one that holds: channel, 1x16, 1x8, 1x4, 2:4, 4:8 or unstructured.
    """

    zeros: float
    block: int = 1
    pattern: str = "unstructured"


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant tensor. Two graphs may share one; a pass that changes a value makes a new Weight.

    ``source`` yields the array when it is first asked for; ``mask`` (bool, same shape) marks the
    elements that are kept: the others read as zero and stay zero in training. ``sparsity`` says where
    its zeros lie, if they are many. ``quick``: the source is as fast as a copy, so that `forget` may let
    the array go.
    """

    type: TensorType
    source: Callable[[], np.ndarray]
    trainable: bool = True
    mask: np.ndarray | None = None
    origin: str = "computed"
    sparsity: Sparsity | None = None
    quick: bool = False

    @classmethod
    def of(cls, array: np.ndarray, *, trainable: bool = True, origin: str = "computed") -> Weight:
        """A weight that holds ``array`` (copied unless it is already read-only)."""
        kept = array if not array.flags.writeable else array.copy()
        kept.flags.writeable = False
        return cls(TensorType(kept.shape, kept.dtype.name), lambda: kept, trainable, origin=origin)

    def masked(self, mask: np.ndarray | None) -> Weight:
        """The same weight with ``mask`` (None: none) in place of the mask it had."""
        return replace(self, mask=mask)

    def marked(self, sparsity: Sparsity | None) -> Weight:
        """The same weight, and the same array, with another ``sparsity``."""
        twin = replace(self, sparsity=sparsity)
        if "array" in self.__dict__:
            twin.__dict__["array"] = self.array  # read or drawn already: not again
        return twin

    def forget(self) -> None:
        """Let go of the array if it is quickly made again: a program has its own copy, packed."""
        if self.quick:
            self.__dict__.pop("array", None)

    @cached_property
    def array(self) -> np.ndarray:
        """The values, read-only, zeros where the mask is False."""
        values = self.source()
        if self.mask is not None:
            values = np.where(self.mask, values, values.dtype.type(0))
        if values.flags.writeable:
            values = values.view()
            values.flags.writeable = False
        return values
