"""The patterns in which zeros lie in a weight: 1x4 blocks, 2:4, whole filters, anywhere.

A weight [O, C/groups, KH, KW] or [O, I] is seen as [O, C, taps]:

    unstructured    anywhere
    1x4, 1x8, 1x16  4, 8 or 16 consecutive output channels are zero together, input and tap by input and tap
    2:4, 4:8        of every 4 (8) consecutive input channels at one output and tap at most 2 (4) are not zero
    channel         whole filters: all that makes one output channel
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nbcnn.ir import Sparsity, Weight

FILL = 1.01
"""A pattern holds where storing all its positions takes at most this times the elements that are not zero."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern: ``block`` output channels together, or ``most`` of every ``group`` input channels."""

    name: str
    block: int = 1
    most: int = 0
    group: int = 0

    @property
    def zeros(self) -> float | None:
        """The share of zeros that the pattern prescribes, if it does."""
        return 1 - self.most / self.group if self.group else None


PATTERNS: dict[str, Pattern] = {
    p.name: p
    for p in (
        Pattern("unstructured"),
        Pattern("1x4", block=4),
        Pattern("1x8", block=8),
        Pattern("1x16", block=16),
        Pattern("2:4", most=2, group=4),
        Pattern("4:8", most=4, group=8),
        Pattern("channel"),
    )
}


def obstacle(pattern: Pattern, shape: tuple[int, ...], groups: int) -> str | None:
    """Why a weight of ``shape`` cannot have ``pattern``, and what would do; None where it can."""
    out, inside = shape[0] // groups, shape[1]
    where = f" in each of its {groups} groups" if groups > 1 else ""
    if out % pattern.block:
        return f"{pattern.name} needs a multiple of {pattern.block} output channels{where}, it has {out}"
    if pattern.group and inside % pattern.group:
        return f"{pattern.name} needs a multiple of {pattern.group} input channels{where}, it has {inside}"
    return None


def units(array: np.ndarray, pattern: Pattern) -> np.ndarray:
    """``array`` as [A, members, B]: the members of each of the A * B units that ``pattern`` prunes whole.

    An element is a unit of one for N:M patterns too.
    """
    if pattern.name == "channel":
        return array.reshape(len(array), -1, 1)
    if pattern.block > 1:
        return array.reshape(len(array) // pattern.block, pattern.block, -1)
    return array.reshape(-1, 1, 1)


def spread(kept: np.ndarray, shape: tuple[int, ...], pattern: Pattern) -> np.ndarray:
    """The mask of ``shape`` that keeps the units ``kept`` [A * B]."""
    whole = units(np.empty(shape, bool), pattern)
    each = kept.reshape(len(whole), 1, -1)
    return np.broadcast_to(each, whole.shape).reshape(shape)


def best_of_each(scores: np.ndarray, pattern: Pattern) -> np.ndarray:
    """The mask of an N:M pattern: of each group of inputs the highest scores; of equal ones the later."""
    out, inside = scores.shape[:2]
    grouped = scores.reshape(out, inside // pattern.group, pattern.group, -1)
    order = np.argsort(grouped, axis=2, kind="stable")
    kept = np.zeros(grouped.shape, bool)
    np.put_along_axis(kept, order[:, :, pattern.group - pattern.most :], True, axis=2)
    return kept.reshape(scores.shape)


def found(array: np.ndarray, groups: int = 1) -> Sparsity:
    """The share of zeros of a weight, its block and the most regular pattern that holds.

    ``groups`` splits the output channels; a block stays within one group.
    """
    kept = (array != 0).reshape(*array.shape[:2], -1)
    count = int(np.count_nonzero(kept))
    zeros = (kept.size - count) / kept.size
    room = min(count * FILL, kept.size - 1)  # a pattern that stores everything says nothing
    blocks = [p for p in PATTERNS.values() if p.block > 1 and len(kept) // groups % p.block == 0]
    block = max((p.block for p in blocks if _stored_in_blocks(kept, p.block) <= room), default=1)
    pattern = "unstructured"
    if int(kept.any(axis=(1, 2)).sum()) * kept[:1].size <= room:
        pattern = "channel"
    elif block > 1:
        pattern = f"1x{block}"
    else:
        for p in PATTERNS.values():
            if p.group and _holds(kept, p) and kept.size * p.most / p.group <= room:
                pattern = p.name
                break
    return Sparsity(zeros, block, pattern)


def renewed(array: np.ndarray, *old: Weight, groups: int = 1) -> Sparsity | None:
    """The mark of a weight ``array`` that a pass makes of ``old`` ones; None where one of these has none."""
    mark = found(array, groups) if all(weight.sparsity for weight in old) else None
    return mark if mark and mark.zeros else None


def _stored_in_blocks(kept: np.ndarray, block: int) -> int:
    return block * int(np.count_nonzero(kept.reshape(-1, block, *kept.shape[1:]).any(axis=1)))


def _holds(kept: np.ndarray, pattern: Pattern) -> bool:
    """Whether no group of input channels keeps more than an N:M pattern lets it."""
    out, inside, taps = kept.shape
    if inside % pattern.group:
        return False
    counts = kept.reshape(out, inside // pattern.group, pattern.group, taps).sum(axis=2)
    return bool((counts <= pattern.most).all())
