"""Tile sizes of the indirect GEMM (``code/igemm.py``): pure rules, fitted to measurements.

All ResNet-50 convolutions (7.94 GFLOP), one thread of an AMD Zen 5, ms; UNROLL 4, best order per
layer.  The FMA peak, measured with 24 independent chains in registers, is 239 GFLOP/s: 33.2 ms.

====================  =======  =======  =======  =======  =======  =======  =======  =======
16 lanes, 32 regs     7x2      10x2     12x2     13x2     14x2     6x4      9x3      7x4
====================  =======  =======  =======  =======  =======  =======  =======  =======
ResNet-50, ms         34.9     34.2     35.8     38.7     40.6     35.9     41.1     47.3
MobileNetV2 1x1, ms   2.58     2.63     2.82                       3.50
VGG16 3x3, ms         148      145      143                        147
compile, s            0.5      0.5      0.6      0.7      0.7      0.7      0.8      0.7
====================  =======  =======  =======  =======  =======  =======  =======  =======

The rules below: ResNet-50 33.4 ms (238 GFLOP/s, minima of 25 runs), MobileNetV2 2.41 ms.

UNROLL 2, 4 and 8 differ by less than 0.3 %.  24x1 needs 76 ms: its 24 row pointers spill, and one
load per multiply-add is the most the CPU can do.  7x2 divides the 49, 196, 784, 3136 and 12544
pixels of ImageNet networks, has 14 chains of multiply-adds where 8 hide their latency, and leaves
registers for the row pointers.  The other row counts are for pixel counts which 7 divides badly.
NV = 3 pays where the channels are an odd multiple of three vectors (144 of MobileNetV2: 0.108 ms
against 0.131), and NV = 1 for at most one (32 -> 16 channels: 0.084 against 0.149).

With 16 registers (a third of the same layers, GFLOP/s; peak about 119 with AVX2 + FMA):
8 lanes 6x2 115.7, 5x2 113.0, 4x3 109.5, 4x2 101.2, 12x1 94; 4 lanes without FMA (the product takes
a register of its own) 4x2 39.8, 3x3 38.4, 6x2 38.2, 5x2 37.9, 4x3 27.5.

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
