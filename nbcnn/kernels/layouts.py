"""Where values lie in memory: layouts, buffers, views of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nbcnn.ir.types import TensorType

F32 = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class Layout:
    """How a value lies in memory.

    ``plain``: its logical shape, contiguous. ``nhwc``: pixels of channels padded to whole vectors;
    ``image`` is (C, H, W), also for a flattened value that still lies as its image did.
    ``halo``: pixels of exactly C channels inside a border of zeros, ``pads`` (top, left, bottom,
    right) wide: what first layers read. ``planes``: whole channels one after the other, each begins
    at a whole vector: what sparse filters read. ``pixels4``: pixels of 4 channels: what first
    layers read on a GPU.
    """

    kind: str
    image: tuple[int, int, int] | None = None
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __str__(self) -> str:
        return self.kind


PLAIN = Layout("plain")


def nhwc(type_: TensorType) -> Layout:
    """The ordinary layout of a value: NHWC for images, rows for [N, F], plain for the rest.

    A signal [N, C, L] lies as an image of one row, a volume [N, C, D, H, W] as its planes, one below
    the other.
    """
    extents = [d for d in type_.shape[1:] if not isinstance(d, str)]
    if not 2 <= type_.rank <= 5 or len(extents) < type_.rank - 1:
        return PLAIN
    channels, *rows, width = extents if type_.rank > 2 else (*extents, 1)
    return Layout("nhwc", (channels, math.prod(rows), width))


def planes(type_: TensorType) -> Layout:
    """The layout of an image, or of rows [N, F], as whole channels; plain for the rest."""
    return Layout("planes", image) if (image := nhwc(type_).image) else PLAIN


@dataclass(eq=False)
class Buffer:
    """A stretch of memory: in the ``arena``, the caller's (``input``, ``output``) or a ``constant``.

    ``name`` is the value it holds, or the public name of the caller's array; ``purpose`` tells
    values from conversions of them in the memory report.
    """

    name: str
    nbytes: int
    place: str = "arena"
    purpose: str = "value"
    array: np.ndarray | None = None


@dataclass(frozen=True)
class View:
    """A value, or a conversion of it, in a buffer; strides in elements of ``size`` bytes.

    ``pitch`` is the distance of two pixels (of two channels in ``planes``), ``image_stride`` of two
    images; both may exceed what the value itself needs when it lies in a slot of a wider buffer
    (concatenation).
    """

    buffer: Buffer
    layout: Layout
    pitch: int
    image_stride: int
    offset: int = 0
    size: int = F32

    @property
    def address(self) -> Address:
        return Address(self.buffer, self.offset * self.size)


@dataclass(frozen=True)
class Address:
    """An argument: ``offset`` bytes into a buffer."""

    buffer: Buffer
    offset: int = 0


def aligned(array: np.ndarray, boundary: int = 64) -> np.ndarray:
    """A contiguous copy of ``array`` (or itself) that begins at a multiple of ``boundary`` bytes."""
    if array.flags.c_contiguous and array.ctypes.data % boundary == 0:
        return array
    out = empty_aligned(array.shape, array.dtype, boundary)
    out[...] = array
    return out


def empty_aligned(shape: tuple[int, ...], dtype: np.dtype | type, boundary: int = 64) -> np.ndarray:
    """An uninitialised contiguous array that begins at a multiple of ``boundary`` bytes."""
    dtype = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(nbytes + boundary, np.uint8)
    start = -raw.ctypes.data % boundary
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is not below ``number``."""
    return -(-number // multiple) * multiple
