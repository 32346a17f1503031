"""Weights and row tables in the forms that the matrix kernels read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nbcnn.errors import NbcnnError
from nbcnn.ir.weight import Weight
from nbcnn.kernels.base import Store
from nbcnn.kernels.layouts import empty_aligned, round_up

OUTSIDE = np.iinfo(np.int32).min
"""Table entry of a row that lies in the padding: the kernel reads zeros."""

MOST_ENTRIES = 1 << 30
"""Of one table: 4 GiB."""


def panels(
    weight: Weight, shape: tuple[int, ...], groups: int, nr: int, flip: bool, store: Store
) -> np.ndarray:
    """Filters [O, C/G, *kernel] as [G, ceil(O/G/nr), taps*C/G, nr], zeros past the last filter."""

    def make() -> np.ndarray:
        filters = weight.array.reshape(shape)
        return _panels(np.flip(filters, tuple(range(2, len(shape)))) if flip else filters, groups, nr)

    return store.get(("weights", "panels", weight, shape, groups, nr, flip), make)


def spread_panels(
    weight: Weight, taps: tuple[tuple[int, ...], ...], groups: int, nr: int, store: Store
) -> np.ndarray:
    """`panels` of the ``taps`` of a transposed weight [C, O/G, *kernel]; of none, one tap of zeros."""

    def make() -> np.ndarray:
        array = weight.array
        chosen = [array[(..., *tap)] for tap in taps] or [np.zeros(array.shape[:2], np.float32)]
        by_group = np.stack(chosen, axis=-1).reshape(groups, -1, array.shape[1], len(chosen))
        return _panels(by_group.swapaxes(1, 2).reshape(-1, by_group.shape[1], len(chosen)), groups, nr)

    return store.get(("weights", "spread panels", weight, taps, groups, nr), make)


def _panels(filters: np.ndarray, groups: int, nr: int) -> np.ndarray:
    taps_first = (*range(2, filters.ndim), 1, 0)
    out = filters.shape[0] // groups
    depth = int(np.prod(filters.shape[1:]))
    count = -(-out // nr)
    packed = empty_aligned((groups, count, depth, nr), np.float32)
    for g in range(groups):
        part = filters[g * out : (g + 1) * out]
        for p in range(count):
            chunk = part[p * nr : (p + 1) * nr]  # small enough to stay in cache
            packed[g, p, :, : len(chunk)] = chunk.transpose(taps_first).reshape(depth, -1)
            packed[g, p, :, len(chunk) :] = 0
    return packed


def vectors(weight: Weight | None, groups: int, size: int, multiple: int, store: Store) -> np.ndarray:
    """A per-channel weight [G * size] as [G, size rounded up to ``multiple``]; zeros for None."""

    def make() -> np.ndarray:
        packed = np.zeros((groups, round_up(size, multiple)), np.float32)
        if weight is not None:
            packed[:, :size] = weight.array.reshape(groups, size)
        return packed

    return store.get(("weights", "vectors", weight, groups, size, multiple), make)


def zeros(count: int, store: Store) -> np.ndarray:
    """At least ``count`` zeros, shared by all kernels that read padding."""
    size = 1024
    while size < count:
        size *= 2
    return store.get(("tables", "zeros", size), lambda: np.zeros(size, np.float32))


@dataclass(frozen=True)
class Window:
    """A convolution's walk over one image; every field has a number for each axis.

    ``steps`` are the distances of neighbours along each axis, in floats; ``before`` the padding.
    """

    size: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Points of the output."""
        return math.prod(self.out)

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)


def steps_of(size: tuple[int, ...], pitch: int) -> tuple[int, ...]:
    """The distances of neighbours along each axis of ``size`` points that lie ``pitch`` floats apart."""
    return tuple(math.prod(size[i + 1 :]) * pitch for i in range(len(size)))


def table(window: Window, mr: int, store: Store) -> np.ndarray:
    """Offsets int32 [blocks, taps, mr] of the pixels under each tap; past the end the last row again."""

    def make() -> np.ndarray:
        blocks, taps, rank = -(-window.rows // mr), window.taps, len(window.size)
        _check(window.size[0] * window.steps[0], blocks * mr * taps)
        out = np.minimum(np.arange(blocks * mr), window.rows - 1)
        offsets, inside = np.zeros((1,) * (rank + 1), np.int32), np.ones((1,) * (rank + 1), bool)
        for axis, place in enumerate(np.unravel_index(out, window.out)):
            first = place * window.stride[axis] - window.before[axis]
            at = first[:, None] + np.arange(window.kernel[axis]) * window.dilation[axis]
            within = (at >= 0) & (at < window.size[axis])
            shape = (-1, *(window.kernel[axis] if i == axis else 1 for i in range(rank)))
            offsets = offsets + np.where(within, at * window.steps[axis], 0).astype(np.int32).reshape(shape)
            inside = inside & within.reshape(shape)
        offsets[~inside] = OUTSIDE
        return np.ascontiguousarray(offsets.reshape(blocks, mr, taps).transpose(0, 2, 1))

    return store.get(("tables", window, mr), make)


def strip_table(
    count: int, width: int, taps: tuple[tuple[int, int] | None, ...], pitch: int, mr: int, store: Store
) -> np.ndarray:
    """Offsets int32 [blocks, taps, mr] for ``count`` points of one row of an image ``width`` pixels wide.

    A tap is the distance, in floats, of the row that it reads and the first pixel there; None reads zeros.
    """

    def make() -> np.ndarray:
        blocks = -(-count // mr)
        _check(max((abs(t[0]) for t in taps if t), default=0) + width * pitch, blocks * mr * len(taps))
        points = np.minimum(np.arange(blocks * mr), count - 1)
        offsets = np.full((len(taps), len(points)), OUTSIDE, np.int32)
        for line, tap in zip(offsets, taps, strict=True):
            if tap is not None:
                at = points + tap[1]
                inside = (at >= 0) & (at < width)
                line[inside] = tap[0] + at[inside] * pitch
        return np.ascontiguousarray(offsets.reshape(len(taps), blocks, mr).swapaxes(0, 1))

    return store.get(("tables", "strip", count, width, taps, pitch, mr), make)


def linear_table(
    count: int, stride: int, taps: tuple[int, ...], store: Store, rows: int | None = None
) -> np.ndarray:
    """Offsets int32 [1, taps, count] of rows ``stride`` floats apart, each tap shifted by its offset.

    After ``rows`` of them (None: ``count``) the last one stands again.
    """
    last = (rows or count) - 1

    def make() -> np.ndarray:
        _check(max(taps) + (last + 1) * stride, count * len(taps))
        offsets = np.asarray(taps)[:, None] + np.minimum(np.arange(count), last) * stride
        return offsets.astype(np.int32)[None]

    return store.get(("tables", "linear", count, stride, taps, last), make)


def _check(reach: int, entries: int) -> None:
    """Refuse a table whose offsets do not fit in 32 bits, or that would itself fill the memory."""
    if reach >= 1 << 31:
        raise NbcnnError(f"images of {reach:,} floats are too large: offsets have 32 bits")
    if entries > MOST_ENTRIES:
        raise NbcnnError(f"kernel and image are too large: {entries:,} offsets, over the limit of 2**30")
