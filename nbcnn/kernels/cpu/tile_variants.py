"""Tiles of the indirect GEMM that are worth measuring beside the one that `tiles` chooses."""

from __future__ import annotations

from nbcnn.kernels.cpu.tiles import Tile, choose_tile

WIDE_32 = {1: (7, 14, 24), 2: (4, 7, 8, 10, 12, 14), 3: (7, 9), 4: (4, 6)}
WIDE_16 = {1: (6, 12), 2: (4, 5, 6), 3: (3, 4)}
"""Vectors of a tile -> its rows, with 32 and with 16 registers: all that leave room for the operands."""

STREAMED = (4, 2, 1)
"""Vectors of a tile of one row."""

WASTE = 1.12
"""A tile is left out that does so many times the fewest products, those past the last row and channel too."""


def tiles(rows: int, n: int, k: int, taps: int, lanes: int, registers: int) -> tuple[Tile, ...]:
    """``(MR, NV, UNROLL)`` with little waste, other than `tiles.choose_tile` takes; its operands."""
    chosen = choose_tile(rows, n, k, taps, lanes, registers)
    vectors = -(-n // lanes)
    if rows == 1:
        sizes = {(1, nv): _padded(vectors, nv) for nv in STREAMED}
    else:
        rows_of = WIDE_32 if registers >= 32 else WIDE_16
        sizes = {(mr, nv): _padded(rows, mr) * _padded(vectors, nv) for nv in rows_of for mr in rows_of[nv]}
    fewest = min(*sizes.values(), _padded(rows, chosen[0]) * _padded(vectors, chosen[1]))
    return tuple(
        (mr, nv, chosen[2])
        for (mr, nv), products in sizes.items()
        if products <= WASTE * fewest and (mr, nv) != chosen[:2] and nv <= vectors
    )


def _padded(n: int, to: int) -> int:
    return -(-n // to) * to
