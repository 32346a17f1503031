"""Values that are known when a model is read: constants, and integers that depend on the batch alone.

Shape sub-graphs compute extents from extents. Where the batch is open, such a value is worked out for
several batch sizes at once, each by the operators' own references: an element that is the same for all of
them is a number, one that is equal to the batch in each is ``"N"``. No algebra is needed, and whatever else
depends on the batch (``2 * N``, ``min(N, 7)``) is told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nbcnn.errors import ShapeError
from nbcnn.ir.types import BATCH, Dim, TensorType

PROBES = (1, 2, 3, 1009, 65537)
"""Batch sizes; with 1 and 2 among them, comparisons with small numbers show."""


@dataclass(frozen=True, eq=False)
class Known:
    """A value of ``type``: its array, or one array for each of `PROBES`."""

    type: TensorType
    arrays: tuple[Callable[[], np.ndarray], ...]

    @classmethod
    def of(cls, *arrays: np.ndarray) -> Known:
        """From one array, or from one for each probe, which are one if they are all the same.

        Raises ShapeError where shapes depend on the batch.
        """
        first = arrays[0]
        if any(a.shape != first.shape for a in arrays):
            raise ShapeError("a shape that depends on the batch in more than its first extent")
        if all(np.array_equal(a, first, equal_nan=first.dtype.kind == "f") for a in arrays[1:]):
            arrays = arrays[:1]
        return cls(TensorType(first.shape, first.dtype.name), tuple(lambda a=a: a for a in arrays))

    @property
    def fixed(self) -> bool:
        """Whether it is the same for every batch."""
        return len(self.arrays) == 1

    @property
    def array(self) -> np.ndarray:
        """The value of a fixed one."""
        (array,) = self.arrays
        return array()

    def dims(self) -> tuple[Dim, ...]:
        """The elements as extents; raises ShapeError for one that is neither a number nor the batch."""
        if self.fixed:
            return tuple(int(d) for d in self.array.ravel())
        found: list[Dim] = []
        for column in zip(*(a().ravel().tolist() for a in self.arrays), strict=True):
            if len(set(column)) == 1:
                found.append(int(column[0]))
            elif column == PROBES:
                found.append(BATCH)
            else:
                raise ShapeError("an extent that depends on the batch and is not the batch itself")
        return tuple(found)


def extents(dims: Sequence[Dim]) -> list[np.ndarray]:
    """``dims``, in which the batch may stand, as int64 arrays for `Known.of`."""
    if BATCH not in dims:
        return [np.array(dims, np.int64)]
    return [np.array([n if d == BATCH else d for d in dims], np.int64) for n in PROBES]


def evaluate(function: Callable[..., Sequence[np.ndarray]], operands: Sequence[Known]) -> list[Known]:
    """The results of ``function`` on ``operands``, for each batch size where one depends on it."""
    count = max((len(k.arrays) for k in operands), default=1)
    runs = [function(*(k.arrays[i if not k.fixed else 0]() for k in operands)) for i in range(count)]
    return [Known.of(*results) for results in zip(*runs, strict=True)]
