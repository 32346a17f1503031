"""Which configurations can compute a convolution, the best first by a model of their time.

The model counts clock cycles of one multiprocessor. A step along K of one block takes ``bm bn bk`` products
at the rate of the tensor cores and ``(bm + bn) row_bytes`` from L2; blocks that share a multiprocessor share
both, and none is faster than the latency of a step. A block adds its start and the bytes that its epilogue
writes. The multiprocessor with the most blocks sets the time (waves), which is at least that of the memory's
bytes; a split adds the reduction. The rates are those of an H200; others scale alike. They rank, no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nbcnn.kernels.cuda.configs import CONFIGS, depthwise, with_epilogue
from nbcnn.kernels.cuda.problem import Conv, launch
from nbcnn.kernels.cuda.shapes import KINDS, Config, ConvMma, ConvWgmma, Depthwise, Epilogue
from nbcnn.target import CudaTarget

CLOCK = 1.7e9
"""Cycles in a second."""

PRODUCTS = {(8, 0): 1024, (9, 0): 2048}
"""Products of f16 in a cycle of one multiprocessor, by compute capability; others: 512."""

OF_MMA = 0.62
"""The share of that which mma.sync reaches on 9.0."""

OF_KIND = {"f16": 1.0, "bf16": 1.0, "tf32": 0.5, "f32": 0.5 / 3, "s8": 2.0}

L2, DRAM = 48.0, 18.0
"""Bytes in a cycle of one multiprocessor."""

START, STEP, TILE = 2000.0, 250.0, 600.0
"""Cycles until a block's first products, of a step at least, and of an epilogue beside its bytes."""

OVERLAP = 0.1
"""The share of the shorter of computing and moving that does not hide behind the longer."""

REDUCTION = 2e-6
"""Seconds of a second launch."""

SPLITS = (2, 3, 4, 6, 8, 12, 16, 24, 32)

WORTH_MEASURING, MOST = 2.0, 8
"""How many times the best estimate a candidate may take to be tried, and how many are."""

COLUMNS, WASTE = 64, 8
"""Filters of the narrowest tiles, which merged groups should fill; groups that are merged beyond that."""

_OPERANDS: tuple[str, ...] = ("x", "w", "bias", "scale", "residual", "out", "partial")


@dataclass(frozen=True)
class Tile:
    """A configuration, and in how many parts the sums are computed (1: whole)."""

    config: ConvMma | ConvWgmma
    splits: int = 1

    @property
    def name(self) -> str:
        return f"{self.config.name} x {self.splits}" if self.splits > 1 else self.config.name


def candidates(
    conv: Conv, kind: str, epilogue: Epilogue, target: CudaTarget, pixels4: bool = False
) -> list[Tile]:
    """The tiles worth measuring, the best estimate first; empty where none can compute ``conv``."""
    found = sorted(_tiles(conv, kind, epilogue, target, pixels4), key=lambda t: seconds(t, conv, target))
    if not found:
        return []
    limit = WORTH_MEASURING * seconds(found[0], conv, target)
    return [tile for tile in found if seconds(tile, conv, target) <= limit][:MOST]


def refusal(conv: Conv, kind: str, pixels4: bool = False) -> str | None:
    """Why no kernel can compute ``conv``, or None."""
    config = next(
        c
        for c in CONFIGS.values()
        if isinstance(c, ConvMma) and c.kind == kind and c.pixels4 == pixels4 and not c.split
    )
    return _reason(config, conv)


def seconds(tile: Tile, conv: Conv, target: CudaTarget) -> float:
    """The model's time of ``tile``."""
    config, size = tile.config, KINDS[tile.config.kind].size
    rate = PRODUCTS.get(target.capability, 512) * OF_KIND[config.kind]
    if isinstance(config, ConvMma) and target.capability == (9, 0):
        rate *= OF_MMA
    rows = 128 if isinstance(config, ConvWgmma) else config.row_bytes
    steps = -(-steps_of(config, conv) // tile.splits)
    compute = config.bm * config.bn * config.bk / rate
    load = (config.bm + config.bn) * rows / L2
    store = TILE + config.bm * config.bn * (4 if tile.splits > 1 else size) / DRAM
    blocks = -(-conv.m // config.bm) * -(-conv.k // conv.groups // config.bn) * tile.splits * conv.groups
    share = -(-blocks // target.multiprocessors)

    def together(count: int) -> float:
        return START + steps * max(count * compute, count * load, STEP) + count * store if count else 0.0

    if isinstance(config, ConvWgmma):  # one block takes tile after tile
        cycles = START + share * (steps * max(compute, load, STEP) + store)
    else:
        resident = min(config.blocks, (target.shared_memory + 1024) // (config.smem + 1024))
        waves, rest = divmod(share, resident)
        cycles = waves * together(resident) + together(rest)
    moved = size * (conv.n * conv.h * conv.w * conv.c + conv.m * conv.k + conv.k * conv.r * conv.s * conv.c)
    memory = moved / DRAM / target.multiprocessors
    whole = (max(cycles, memory) + OVERLAP * min(cycles, memory)) / CLOCK
    if tile.splits > 1:
        partial = conv.m * conv.k * 4 * tile.splits
        whole += REDUCTION + partial / (L2 * target.multiprocessors * CLOCK)
    return whole


def steps_of(config: ConvMma | ConvWgmma, conv: Conv) -> int:
    """Steps along K of one tile."""
    size = KINDS[config.kind].size
    if isinstance(config, ConvMma) and config.pixels4:
        return -(-conv.r * conv.s * 4 * size // config.row_bytes)
    rows = 128 if isinstance(config, ConvWgmma) else config.row_bytes
    return conv.r * conv.s * -(-conv.c // conv.groups * size // rows)


def merged(groups: int, channels: int, filters: int, lanes: int) -> int:
    """How many groups, each of so many channels and filters, are computed as one.

    A tile has `COLUMNS` filters and a step 128 bytes of channels, whether they are used or not: as many as
    fit, else as few as make whole vectors of both, or all of them.
    """
    ways = [m for m in range(1, groups + 1) if groups % m == 0]
    whole = [m for m in ways if m == groups or not (m * channels % lanes or m * filters % lanes)]
    fit = [m for m in whole if m * channels <= 8 * lanes and m * filters <= COLUMNS]
    return fit[-1] if fit else whole[0]


def strips(conv: Conv, kind: str, epilogue: Epilogue, target: CudaTarget) -> list[Depthwise]:
    """Kernels for a depthwise convolution, the best first: wide strips read less, narrow ones are more."""
    window = (conv.r, conv.s, conv.strides[1], conv.dilations[1])
    widths = (4, 2, 1) if conv.s <= 7 and kind != "s8" else (2, 1)
    found = [replace(depthwise(kind, *window, width), epilogue=epilogue) for width in widths]

    def threads(config: Depthwise) -> int:
        return conv.c * KINDS[kind].size // 16 * -(-conv.q // config.width) * conv.n * conv.p

    enough = 2 * target.multiprocessors * found[0].threads
    found.sort(key=lambda c: (threads(c) < enough, c.width if threads(c) < enough else -c.width))
    return [c for c in found if _reason(c, conv) is None]


def strips_refusal(conv: Conv, kind: str) -> str | None:
    """Why no depthwise kernel can compute ``conv``, or None."""
    return _reason(depthwise(kind, conv.r, conv.s, conv.strides[1], conv.dilations[1]), conv)


def _tiles(conv: Conv, kind: str, epilogue: Epilogue, target: CudaTarget, pixels4: bool) -> Iterator[Tile]:
    pointwise = (conv.r, conv.s, conv.strides, conv.pads) == (1, 1, (1, 1), (0, 0, 0, 0))
    for config in CONFIGS.values():
        if config.kind != kind or not isinstance(config, ConvMma | ConvWgmma):
            continue
        if not config.runs_on(target.capability) or config.smem > target.shared_memory:
            continue
        if (isinstance(config, ConvMma) and config.pixels4) != pixels4 or _reason(config, conv):
            continue
        if isinstance(config, ConvMma) and config.split:
            yield from (Tile(config, splits) for splits in _splits(config, conv, target))
            continue
        if isinstance(config, ConvWgmma) and config.im2col and pointwise:
            continue  # the TMA unit need not gather
        made = with_epilogue(config, epilogue)
        assert isinstance(made, ConvMma | ConvWgmma)
        yield Tile(made)


def _splits(config: ConvMma, conv: Conv, target: CudaTarget) -> list[int]:
    """Numbers of parts of at least two steps that leave no block waiting for another to end."""
    blocks = -(-conv.m // config.bm) * -(-conv.k // config.bn)
    most = min(steps_of(config, conv) // 2, config.blocks * target.multiprocessors // blocks)
    return [splits for splits in SPLITS if splits <= most]


def _reason(config: Config, conv: Conv) -> str | None:
    """Why ``config`` cannot compute ``conv``, or None."""
    try:
        launch(config, conv, dict.fromkeys(_OPERANDS, 16))
    except ValueError as error:
        return str(error)
    return None
