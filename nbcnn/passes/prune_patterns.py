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

from nbcnn.ir import Sparsity

FILL = 1.01
"""A pattern holds where storing all its positions takes at most this times the elements that are not zero."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern: ``block`` output channels together, or ``most`` of every ``group`` input channels."""

    name: str
    block: int = 1
    most: int = 0
    group: int = 0


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


def found(array: np.ndarray, groups: int = 1) -> Sparsity:
    """The share of zeros of a weight, its block and the most regular pattern that holds.

    ``groups`` splits the output channels; a block stays within one group.
    """
    kept = (array != 0).reshape(*array.shape[:2], -1)
    count = int(np.count_nonzero(kept))
    zeros = (kept.size - count) / kept.size
    room = count * FILL
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


def _stored_in_blocks(kept: np.ndarray, block: int) -> int:
    return block * int(np.count_nonzero(kept.reshape(-1, block, *kept.shape[1:]).any(axis=1)))


def _holds(kept: np.ndarray, pattern: Pattern) -> bool:
    """Whether no group of input channels keeps more than an N:M pattern lets it."""
    out, inside, taps = kept.shape
    if inside % pattern.group:
        return False
    counts = kept.reshape(out, inside // pattern.group, pattern.group, taps).sum(axis=2)
    return bool((counts <= pattern.most).all())
