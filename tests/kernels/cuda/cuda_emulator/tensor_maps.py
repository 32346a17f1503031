"""The TMA unit: boxes of global memory into swizzled rows of 128 bytes, and wgmma's view of those rows."""

from __future__ import annotations

import numpy as np

from nbcnn.runtime.cuda.maps import Im2col, Tiled

from .memory import Device, Memory

_FIRST = 1 << 48
_maps: list[Tiled | Im2col] = []


def handle(map_: Tiled | Im2col) -> int:
    """A number that stands for the map's address."""
    if map_ not in _maps:
        _maps.append(map_)
    return _FIRST + 128 * _maps.index(map_)


def by_handle(number: int) -> Tiled | Im2col:
    return _maps[(number - _FIRST) // 128]


def read(device: Device, map_: Tiled | Im2col, coordinates: list[int], offsets: list[int]) -> np.ndarray:
    """Rows of 128 bytes: zeros outside the tensor."""
    if isinstance(map_, Tiled):
        assert map_.box[0] * map_.size == 128 and len(coordinates) == len(map_.extents)
        grid = np.indices(map_.box[:0:-1]).reshape(len(map_.box) - 1, -1)[::-1]  # innermost of them first
        places = [g + c for g, c in zip(grid, coordinates[1:], strict=True)]
    else:
        assert map_.channels * map_.size == 128
        places = _walk(map_, coordinates, offsets)
    inside = np.ones(len(places[0]), bool)
    start = np.full(len(places[0]), map_.address, np.int64)
    for place, extent, pitch in zip(places, map_.extents[1:], map_.pitches, strict=True):
        assert pitch % 16 == 0, "TMA pitches are multiples of 16 bytes"
        inside &= (place >= 0) & (place < extent)
        start += place * pitch
    columns = coordinates[0] * map_.size + np.arange(0, 128, 16)
    assert coordinates[0] >= 0
    there = inside[:, None] & (columns < map_.extents[0] * map_.size)
    out = np.zeros((len(start), 8, 4), np.uint32)
    out[there] = device.read((start[:, None] + columns)[there], 4)
    return out.reshape(len(start), 32)


def _walk(map_: Im2col, at: list[int], offsets: list[int]) -> list[np.ndarray]:
    """w, h, n of each pixel: corners run along w, h, n inside the box; then the filter's offset is added."""
    _, w, h, n = at
    spans = [
        (extent - 1 + upper - lower) // stride + 1
        for extent, lower, upper, stride in zip(
            map_.extents[1:3], map_.lower, map_.upper, map_.strides, strict=True
        )
    ]
    steps = [(c - lower) // stride for c, lower, stride in zip((w, h), map_.lower, map_.strides, strict=True)]
    assert (w, h) == tuple(lo + i * st for lo, i, st in zip(map_.lower, steps, map_.strides, strict=True))
    index = (n * spans[1] + steps[1]) * spans[0] + steps[0] + np.arange(map_.pixels)
    row, column = np.divmod(index, spans[0])
    image, row = np.divmod(row, spans[1])
    return [
        map_.lower[0] + column * map_.strides[0] + offsets[0],
        map_.lower[1] + row * map_.strides[1] + offsets[1],
        image,
    ]


def _swizzle(address: np.ndarray) -> np.ndarray:
    return address ^ (((address >> 7) & 7) << 4)


def place(shared: Memory, target: int, rows: np.ndarray) -> None:
    """Rows of 32 words, swizzled, from ``target`` on."""
    assert target % 1024 == 0, "swizzled rows begin at a multiple of 1024"
    address = target + np.arange(len(rows) * 8) * 16
    shared.write(_swizzle(address), rows.reshape(-1, 4))


def operand(shared: Memory, descriptor: int, rows: int) -> np.ndarray:
    """32 bytes of each of ``rows`` rows, as wgmma finds them by a matrix descriptor (128-byte swizzle)."""
    assert descriptor >> 62 == 1, "descriptor without 128-byte swizzle"
    start, group = (descriptor & 0x3FFF) << 4, ((descriptor >> 32) & 0x3FFF) << 4
    row = np.arange(rows)
    address = start + (row // 8) * group + (row % 8) * 128
    both = address[:, None] + np.array([0, 16])
    return shared.read(_swizzle(both.reshape(-1)), 4).reshape(rows, 8)
