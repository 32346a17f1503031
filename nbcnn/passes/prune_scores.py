"""How much each unit of a weight matters: the criteria by which `nbcnn.passes.prune` chooses."""

from __future__ import annotations

import hashlib

import numpy as np

from nbcnn.ir import Weight
from nbcnn.passes.prune_patterns import Pattern, units

CRITERIA = ("magnitude", "global", "random")

PRUNED = -1.0
"""The score of units that the weight's mask has pruned already: the lowest."""


def scores(weight: Weight, name: str, pattern: Pattern, criterion: str, seed: int = 0) -> np.ndarray:
    """The score of every unit of ``weight``, flat: of every element for N:M patterns.

    ``magnitude`` is the mean of |w| over the unit divided by the root mean square of the whole weight,
    ``global`` the mean alone, ``random`` drawn by ``seed`` and ``name``: the same on every machine.
    """
    if criterion == "random":
        members = units(np.empty(weight.type.extents(), bool), pattern)
        found = _drawn(members.shape[0] * members.shape[2], name, seed)
    else:
        found = units(np.abs(weight.array), pattern).mean(axis=1).reshape(-1)
        if criterion == "magnitude":
            found /= _scale(weight.array)
    if weight.mask is not None:
        found[~units(weight.mask, pattern).any(axis=1).reshape(-1)] = PRUNED
    return found


def _scale(array: np.ndarray) -> np.ndarray:
    """The root mean square of ``array``; 1 for zeros."""
    size = np.sqrt(np.square(array, dtype=np.float64).mean())
    return np.asarray(size or 1.0, array.dtype)


def _drawn(count: int, name: str, seed: int) -> np.ndarray:
    """Numbers from [0, 1), from raw words of a counter-based generator."""
    key = int.from_bytes(hashlib.blake2b(f"prune/{seed}/{name}".encode(), digest_size=16).digest(), "little")
    return np.random.Philox(key=key).random_raw(count) * 2.0**-64
