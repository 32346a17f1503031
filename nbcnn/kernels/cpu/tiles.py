"""Tile sizes of the indirect GEMM (``code/igemm.py``): pure rules, fitted to measurements.

One thread of an AMD Zen 5 with 16 lanes and 32 registers, ms for all convolutions of ResNet-50
(7.94 GFLOP) and all 1x1 of MobileNetV2 (0.54 GFLOP).  UNROLL 4, the better order per layer, minima
over 40 calls per layer, the columns interleaved so that they saw the same (shared, busy) machine:

===========  =====  =====  =====  =====  =====  =====  =====  =====  =====
MR x NV      7x2    10x2   12x2   13x2   14x2   6x4    9x3    7x4    24x1
===========  =====  =====  =====  =====  =====  =====  =====  =====  =====
ResNet-50    35.3   35.4   37.6   36.8   37.2   35.8   40.8   48.6   70.4
MobileNetV2  2.60   2.64   2.82   2.75   2.79   3.43   3.07   4.47   3.77
===========  =====  =====  =====  =====  =====  =====  =====  =====  =====

The rules below take 33.4 ms (238 GFLOP/s) and 2.41 ms in a quiet run, 34.1 and 2.38 in a busy one;
24 independent chains of multiply-adds in registers reach 239-240 GFLOP/s, or 33.2 ms.  On VGG16's
3x3 layers 7x2, 10x2, 12x2 and 6x4 (148, 145, 143, 147 ms) differ by less than the noise.  UNROLL
2, 4 and 8 differ by less than 0.4 %.

7x2 divides the 49, 196, 784, 3136 and 12544 pixels of ImageNet networks, has 14 chains of
multiply-adds where 8 hide their latency, and leaves registers for the row pointers.  The other row
counts are for pixel counts which 7 divides badly; their costs are judgement, not measurement.
NV = 3 pays where the channels are an odd multiple of three vectors (144 of MobileNetV2: 0.108 ms
against 0.131), and NV = 1 for at most one (32 -> 16 channels: 0.084 against 0.149).

With 16 registers, on 7 of ResNet-50's layers, GFLOP/s: 8 lanes with FMA (peak 123) 6x2 115.8, 5x2
111.2, 4x3 109.0, 4x2 101.7, 12x1 95.5.  With 4 lanes without FMA (the product takes a register of
its own) 4x2 and 3x3 are first by turns, 41 at best; 4x3 is far behind.

One row (a fully connected layer at batch 1) streams its weights: 1x4 and 1x2 reach 110 GB/s while
they fit in L3 and 35-44 GB/s from memory.  First layers, K = 21 over 7 taps: 237 GFLOP/s with
UNROLL 7, 230 with 3; K = 9 over 3 taps: 203 with 3.
"""

from __future__ import annotations

from typing import Protocol


class Caches(Protocol):
    """What :func:`choose_order` asks of a target: cache sizes in bytes."""

    @property
    def l2(self) -> int: ...


# Rows of a tile -> time per row relative to the first.  The surcharge of the others is more than
# measured, to keep a network to few kernels where little is to be gained.
_WIDE_32 = {7: 1.0, 8: 1.04, 10: 1.05, 4: 1.15}
_WIDE_16 = {6: 1.0, 5: 1.03, 4: 1.14, 2: 1.6}
_NARROW_16 = {4: 1.0, 6: 1.05, 2: 1.5}


def _padded(n: int, to: int) -> int:
    return -(-n // to) * to


Tile = tuple[int, int, int]
"""MR, NV, UNROLL"""


def choose_tile(rows: int, n: int, k: int, taps: int, lanes: int, registers: int) -> Tile:
    """``(MR, NV, UNROLL)`` for ``rows`` pixels per image and ``n`` output channels per group.

    ``k`` channels are contiguous at each of ``taps`` taps; ``lanes`` float32 fill a vector, of
    which the CPU has ``registers``.
    """
    vectors = -(-n // lanes)
    if rows == 1:
        # Chains over k make up for the missing rows; wide panels read long runs of weights.
        nv = next(w for w in (4, 2, 1) if 8 * _padded(vectors, w) <= 9 * vectors)
        return 1, nv, _unroll(k)
    costs = _WIDE_32 if registers >= 32 else _WIDE_16 if lanes >= 8 else _NARROW_16
    mr = min(costs, key=lambda m: _padded(rows, m) * costs[m])
    widths = (2, 3) if (mr + 1) * 3 + 1 < registers else (2,)
    nv = 1 if vectors == 1 else min(widths, key=lambda w: _padded(vectors, w))
    return mr, nv, _unroll(k)


def choose_share(groups: int, n: int, k: int, lanes: int) -> int:
    """How many groups, of ``k`` channels and ``n`` filters each, lie in one vector: 1 if that does not go."""
    share = lanes // n if lanes % n == 0 else 1
    return share if k == n > 1 and groups % share == 0 else 1


def _unroll(k: int) -> int:
    """4, or for the short odd reductions of first layers a number that divides them."""
    if k % 4 == 0 or k >= 64:
        return 4
    return next((u for u in (7, 5, 3, 2) if k % u == 0), 4 if k > 4 else 1)


def choose_order(rows: int, n: int, k: int, taps: int, mr: int, nr: int, caches: Caches) -> int:
    """Loop order: 0 panels of weights outer, blocks of rows inner; 1 the reverse.

    Order 1 reads the input once and all weights for each block, so it wants weights that stay in
    L2 and an input that does not; order 0 reads one panel of weights once and the input for each.
    On 32 MB of L3 the two are within 2 % nearly everywhere; where that cache is small or shared
    the input would come from memory once for each panel.
    """
    panels = -(-n // nr)
    weights = 4 * panels * nr * k * taps
    inputs = 4 * rows * k
    fits = 2 * weights <= caches.l2
    return 1 if panels > 1 and rows > mr and fits and inputs > caches.l2 else 0
