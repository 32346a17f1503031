"""Windows over pixels of channels, the filters that they meet, and where results lie.

The records of plain convolutions say so much; `nbcnn.kernels.cuda.simt_product` makes launches of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nbcnn.errors import NbcnnError
from nbcnn.ir.weight import Weight
from nbcnn.kernels.base import Store
from nbcnn.kernels.cuda.division import LIMIT
from nbcnn.kernels.layouts import Address, View

V = 4
"""Channels that are read or written at once."""


@dataclass(frozen=True)
class Axis:
    """One axis of a window: window o begins at point o * stride - before."""

    size: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0

    @property
    def idle(self) -> bool:
        """Whether each point is a window of its own."""
        return (self.kernel, self.stride, self.before) == (1, 1, 0) and self.size == self.out

    @property
    def covered(self) -> bool:
        """Whether one window sees all points, each once."""
        return (self.kernel, self.out, self.before) == (self.size, 1, 0) and self.dilation == 1


POINT = Axis(1, 1)


@dataclass(frozen=True)
class Window:
    """A convolution of one image (a volume's planes, a signal's one row): ``channels`` and ``filters`` of
    a group."""

    axes: tuple[Axis, Axis, Axis]
    channels: int
    filters: int
    groups: int = 1

    @property
    def points(self) -> int:
        return math.prod(a.out for a in self.axes)

    @property
    def taps(self) -> int:
        return math.prod(a.kernel for a in self.axes)


@dataclass(frozen=True)
class Filters:
    """Weights [O, C/G, *kernel] (``transposed``: [C, O/G, *kernel]) and bias [O] or None.

    ``taps`` names those that are used, in order, as indices of the kernel's axes; None: all, backwards with
    ``flip``.
    """

    weight: Weight
    bias: Weight | None
    shape: tuple[int, ...]
    groups: int = 1
    flip: bool = False
    transposed: bool = False
    taps: tuple[tuple[int, ...], ...] | None = None

    def packed(self, share: int, channels: int, columns: int, store: Store) -> np.ndarray:
        """[G/share, taps, ``channels``, ``columns``], ``share`` groups as one; zeros where nothing is."""

        def make() -> np.ndarray:
            taps_last = self._taps_last()
            groups, filters, seen, taps = taps_last.shape
            found = np.zeros((groups // share, taps, channels, columns), np.float32)
            for g in range(share):
                part = taps_last[g::share] if share > 1 else taps_last
                c, n = slice(g * seen, (g + 1) * seen), slice(g * filters, (g + 1) * filters)
                found[:, :, c, n] = part.transpose(0, 3, 2, 1)
            return found

        return store.get(("weights", "simt_conv", self, share, channels, columns), make)

    def rows(self, channels: int, store: Store) -> np.ndarray:
        """[O, taps, ``channels``], of one group."""

        def make() -> np.ndarray:
            (taps_last,) = self._taps_last()
            found = np.zeros((len(taps_last), taps_last.shape[2], channels), np.float32)
            found[:, :, : taps_last.shape[1]] = taps_last.swapaxes(1, 2)
            return found

        return store.get(("weights", "simt_rows", self, channels), make)

    def biases(self, share: int, columns: int, store: Store) -> np.ndarray:
        """[G/share, ``columns``], zeros where nothing is."""

        def make() -> np.ndarray:
            found = np.zeros((self.groups // share, columns), np.float32)
            if self.bias is not None:
                array = self.bias.array.reshape(self.groups // share, -1)
                found[:, : array.shape[1]] = array
            return found

        return store.get(("weights", "simt_bias", self.bias, self.groups // share, columns), make)

    def _taps_last(self) -> np.ndarray:
        """[G, O/G, C/G, taps]."""
        array = self.weight.array.reshape(self.shape)
        if self.flip:
            array = np.flip(array, tuple(range(2, array.ndim)))
        if self.taps is None:
            array = array.reshape(*array.shape[:2], -1)
        elif self.taps:
            array = np.stack([array[(..., *tap)] for tap in self.taps], axis=-1)
        else:
            array = np.zeros((*array.shape[:2], 1), array.dtype)
        array = array.reshape(self.groups, -1, *array.shape[1:])
        return array.swapaxes(1, 2) if self.transposed else array


@dataclass(frozen=True)
class Place:
    """Where a product's results lie, or what is added to them: distances in elements of a view."""

    view: View
    pitch: int
    row: int
    plane: int
    offset: int = 0

    @classmethod
    def of(cls, view: View, window: Window) -> Place:
        """All of a view."""
        _, rows, columns = window.axes
        row = columns.out * view.pitch
        return cls(view, view.pitch, row, rows.out * row)

    @property
    def begin(self) -> int:
        return self.view.offset + self.offset

    @property
    def even(self) -> bool:
        """Whether vectors of channels are aligned."""
        numbers = (self.begin, self.pitch, self.row, self.plane, self.view.image_stride)
        return not any(n % V for n in numbers)


def address_of(view: View, begin: int, image: int) -> Address:
    """Element ``begin`` of the buffer of a view, so many images further on."""
    return Address(view.buffer, (begin + image * view.image_stride) * view.size)


def parts(window: Window, views: tuple[View, ...], batch: int) -> Iterator[tuple[int, int]]:
    """First image and number of images of each launch: offsets have 32 bits, what is divided 30.

    Raises NbcnnError if one image is too large.
    """
    stride = max(v.image_stride for v in views)
    most = min(((1 << 31) - 1) // stride - 1, LIMIT // window.points - 1)
    if most < 1:
        raise NbcnnError(f"images of {stride:,} elements are too large for a GPU's kernels")
    for first in range(0, batch, most):
        yield first, min(most, batch - first)
