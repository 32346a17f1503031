"""The configurations in use, by name: one explicit table, from which a launcher or a tuner chooses.

Each is listed without an epilogue; `with_epilogue` gives the variant that a site wants. Rules of thumb,
to be replaced by measurements: many pixels and 8 or more vectors of channels: wgmma, the widest tile
that the filters fill; few pixels (batch 1): 64x64 or 32x64, split until every multiprocessor has work;
first layers: ``c4``; on anything but 9.0: mma.
"""

from __future__ import annotations

from dataclasses import replace

from nbcnn.kernels.cuda.shapes import Config, ConvMma, ConvWgmma, Depthwise, Epilogue, SplitReduce

_ROW = {"f16": 64, "bf16": 64, "tf32": 32, "f32": 32, "s8": 128}
"""Channels in 128 bytes: one step along K."""


def _mma(kind: str) -> list[Config]:
    """Tiles of one data type: bm, bn, wm, wn, stages, blocks on a multiprocessor."""
    tiles = [(128, 64, 64, 32, 4, 2), (64, 64, 32, 32, 4, 2), (32, 64, 16, 32, 4, 4)]
    if kind == "f32":  # twice the sums: no room for a 64 x 64 warp
        tiles[0] = (128, 64, 64, 32, 3, 1)
    else:
        tiles = [(256, 128, 64, 64, 3, 1), (128, 128, 64, 64, 3, 2), *tiles]
    row = _ROW[kind]
    whole = [ConvMma(kind, bm, bn, row, wm, wn, stages, blocks) for bm, bn, wm, wn, stages, blocks in tiles]
    split = [replace(config, split=True) for config in whole if config.bm <= 128 and config.bn == 64]
    first = [
        ConvMma(kind, 128, 64, row // 2, 64, 32, 4, 1 if kind == "f32" else 2, pixels4=True),
        ConvMma(kind, 128, 32, row // 2, 32, 32, 4, 3, pixels4=True),
    ]
    return [*whole, *split, *first]


def _wgmma(kind: str) -> list[Config]:
    tiles = [(128, 256, 4), (128, 128, 6), (128, 64, 8)] if kind != "f32" else [(128, 128, 4), (128, 64, 6)]
    if kind in ("f16", "bf16"):
        tiles.insert(1, (256, 128, 4))
    return [
        ConvWgmma(kind, bm, bn, stages, im2col=gathers)
        for bm, bn, stages in tiles
        for gathers in (True, False)
    ]


def depthwise(
    kind: str, r: int, s: int, stride: int = 1, dilation: int = 1, width: int | None = None
) -> Depthwise:
    """The kernel for a window; by default strips of 4 pixels, of 2 where a vector has 16 channels.

    As many blocks on a multiprocessor as leave a thread the registers that it needs.
    """
    reach = max(stride, dilation)
    blocks = 4 if s <= 3 and reach == 1 else 3 if s <= (7 if reach == 1 else 5) and reach <= 2 else 2
    if kind == "s8":
        blocks = min(blocks, 3 if s <= 3 else 2)
    return Depthwise(kind, r, s, stride, dilation, width or (2 if kind == "s8" else 4), blocks=blocks)


_WINDOWS = ((3, 3, 1, 1), (3, 3, 2, 1), (3, 3, 1, 2), (5, 5, 1, 1), (5, 5, 2, 1), (7, 7, 1, 1))
"""Rows, columns, stride and dilation that networks use; `depthwise` makes any."""

CONFIGS: dict[str, Config] = {
    config.name: config
    for configs in (
        *(_mma(kind) for kind in _ROW),
        *(_wgmma(kind) for kind in _ROW),
        [SplitReduce(kind) for kind in _ROW],
        *([depthwise(kind, *window) for window in _WINDOWS] for kind in ("f16", "bf16", "f32", "s8")),
    )
    for config in configs
}
"""Name -> configuration without an epilogue."""


def with_epilogue(config: Config, epilogue: Epilogue) -> Config:
    """The variant of ``config`` with ``epilogue``; a split convolution has none (its reduction has)."""
    return replace(config, epilogue=epilogue)
