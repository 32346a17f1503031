"""Weights: named constants of a graph, loaded when first used, never changed in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nbcnn.ir.types import TensorType


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant tensor. Two graphs may share one; a pass that changes a value makes a new Weight.

    ``source`` yields the array when it is first asked for; ``mask`` (bool, same shape) marks the
    elements that are kept: the others read as zero and stay zero in training.
    """

    type: TensorType
    source: Callable[[], np.ndarray]
    trainable: bool = True
    mask: np.ndarray | None = None
    origin: str = "computed"

    @classmethod
    def of(cls, array: np.ndarray, *, trainable: bool = True, origin: str = "computed") -> Weight:
        """A weight that holds ``array`` (copied unless it is already read-only)."""
        kept = array if not array.flags.writeable else array.copy()
        kept.flags.writeable = False
        return cls(TensorType(kept.shape, kept.dtype.name), lambda: kept, trainable, origin=origin)

    def masked(self, mask: np.ndarray) -> Weight:
        """The same weight with ``mask`` in place of the mask it had."""
        return Weight(self.type, self.source, self.trainable, mask, self.origin)

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
