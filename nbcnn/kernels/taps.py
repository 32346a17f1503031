"""What each point of an axis is made of: tables that resizing and padding share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Taps:
    """What each point of an axis is made of: elements [points, taps], -1 for none, and their weights."""

    index: np.ndarray
    weight: np.ndarray

    @property
    def count(self) -> int:
        return self.index.shape[1]

    @property
    def points(self) -> int:
        return len(self.index)

    @classmethod
    def of(cls, index: np.ndarray) -> Taps:
        """Elements that are copied."""
        return cls(index[:, None], np.ones((len(index), 1)))
