"""Tiles of the plain matrix products (``simt/conv.py``), and which of them suits a product."""

from __future__ import annotations

from dataclasses import dataclass

from nbcnn.target import CudaTarget

LATENCY = 600
"""Cycles that a step along the terms takes at least: its loads come from the device's memory."""

FULL = 8
"""Warps on a multiprocessor that keep its multipliers busy."""

MOST_PASSES = 8
"""Rows of a tile that one thread loads, at most: each has its place in registers."""

STATIC = 48 << 10
"""Bytes of shared memory that a kernel may declare."""


@dataclass(frozen=True)
class Tile:
    """``bm`` pixels times ``bn`` filters a block, ``bk`` terms a step; a thread holds ``tm`` x ``tn`` sums.

    ``slices`` groups of threads share the terms of a step. A row of a warp is ``lane`` threads wide, a row of
    warps ``warp``. ``blocks`` fit on a multiprocessor; ``pace`` is the part of its multipliers' speed that is
    reached there, by the share of FFMA among the instructions of the loop.
    """

    bm: int
    bn: int
    bk: int
    tm: int
    tn: int
    slices: int = 1
    lane: int = 8
    warp: int = 1
    blocks: int = 1
    pace: float = 0.01

    @property
    def threads(self) -> int:
        return self.bm // self.tm * (self.bn // self.tn) * self.slices

    @property
    def label(self) -> str:
        """A word for kernel names: ``128x64x8``, ``32x32x32s4``."""
        return f"{self.bm}x{self.bn}x{self.bk}" + (f"s{self.slices}" if self.slices > 1 else "")

    def fits(self, vector: bool, staged: bool) -> bool:
        """Whether it can be had in this form: see ``simt/conv.py``."""
        return self._passes(vector) <= MOST_PASSES and (not staged or 4 * self.bm * self.bn <= STATIC)

    def _passes(self, vector: bool) -> int:
        """Rows of the pixels' tile that a thread loads."""
        return self.bm * (self.bk // 4 if vector else self.bk) // self.threads

    def cycles(self, rows: int, columns: int, terms: int, groups: int, multiprocessors: int) -> float:
        """Estimated cycles of a product of ``groups`` matrices."""
        blocks = -(-rows // self.bm) * -(-columns // self.bn) * groups
        busiest = -(-blocks // multiprocessors)
        warps = min(busiest, self.blocks) * self.threads / 32
        steps = -(-terms // self.bk)
        multiplied = busiest * self.bm * self.bn * steps * self.bk / (128 * self.pace * min(1, warps / FULL))
        return max(multiplied, -(-busiest // self.blocks) * steps * LATENCY)


TILES = (
    Tile(128, 128, 8, 8, 8, warp=2, blocks=2, pace=0.74),
    Tile(128, 64, 8, 8, 8, blocks=4, pace=0.70),
    Tile(64, 64, 8, 8, 8, blocks=6, pace=0.65),
    Tile(128, 32, 16, 8, 4, blocks=4, pace=0.6),
    Tile(128, 16, 16, 8, 4, lane=4, blocks=8, pace=0.55),
    Tile(64, 64, 16, 8, 8, slices=2, blocks=3, pace=0.6),
    Tile(64, 32, 32, 8, 4, slices=4, blocks=2, pace=0.5),
    Tile(32, 32, 32, 4, 4, slices=4, blocks=3, pace=0.45),
)
"""Of a GPU."""

SMALL = (
    Tile(8, 8, 16, 4, 4, lane=2),
    Tile(8, 8, 4, 4, 4, lane=2),
    Tile(16, 8, 4, 8, 4, lane=2),
    Tile(8, 4, 4, 4, 4, slices=2, lane=1),
)
"""Of blocks of few threads: for the simulator."""


def choose(
    rows: int, columns: int, terms: int, groups: int, vector: bool, staged: bool, target: CudaTarget
) -> Tile:
    """The tile that should be fastest for ``groups`` products of rows x terms by terms x columns.

    ``vector``: terms are loaded four at a time; ``staged``: results wait in shared memory.
    """
    tiles = [t for t in (TILES if target.threads >= 256 else SMALL) if t.fits(vector, staged)]
    return min(tiles, key=lambda t: t.cycles(rows, columns, terms, groups, target.multiprocessors))
