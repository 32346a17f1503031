"""Kernel arguments as the driver takes them: an array of pointers, one for each word of the parameters.

A number is one word and a tensor map 128 bytes, by value. Of an array, Numba makes seven words: the
owner and its parent (none), the number and the size of the elements, the address, extent and stride.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda.cubin import Config
from nbcnn.runtime.cuda.launcher import Arg, Span
from nbcnn.runtime.cuda.maps import Im2col, Tiled
from nbcnn.runtime.cuda.simt import STORAGE

MAP_BYTES = 128
MAP_ALIGNMENT = 128  # the driver asks for 64, C for 128

Encode = Callable[[Tiled | Im2col], bytes]
"""A tensor map as its 128 bytes; raises DeviceError."""

_WORDS = {"u16": "H", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "map": f"{MAP_BYTES}s"}
_ARRAY = "QQqqQqq"


class Block:
    """The arguments of one launch. ``pointers`` is the address of the array of pointers, fixed for life.

    The driver copies what is pointed to when it is given a launch, so that `set` may follow at once.
    """

    __slots__ = ("_base", "_config", "_layout", "_memory", "pointers")

    def __init__(self, config: Config) -> None:
        self._config = config
        self._layout = layout = _layout(config.params)
        words = len(layout.offsets)
        table = -(-layout.packer.size // 8) * 8
        self._memory = ctypes.create_string_buffer(table + 8 * words + MAP_ALIGNMENT - 1)
        start = ctypes.addressof(self._memory)
        self._base = -start % MAP_ALIGNMENT
        self.pointers = start + self._base + table
        pointers = (start + self._base + offset for offset in layout.offsets)
        struct.pack_into(f"{words}Q", self._memory, self._base + table, *pointers)

    def set(self, args: Sequence[Arg], encode: Encode) -> None:
        """Write all arguments; raises DeviceError for one that is not what the parameter is."""
        kernel, params = self._config.name, self._config.params
        if len(args) != len(params):
            raise DeviceError(f"{kernel} takes {len(params)} arguments, not {len(args)}")
        values: list[Any] = []
        for (name, code), arg in zip(params, args, strict=True):
            try:
                values += _words(code, arg, encode)
            except DeviceError as error:
                raise DeviceError(f"{kernel}: {name} {error}") from error
        try:
            self._layout.packer.pack_into(self._memory, self._base, *values)
        except (struct.error, OverflowError) as error:
            name, code, arg = _misfit(params, args)
            raise DeviceError(f"{kernel}: {name} = {arg} does not fit {code}") from error

    def words(self) -> list[bytes]:
        """What the pointers point to, one after the other."""
        memory = memoryview(self._memory)[self._base :]
        places = zip(self._layout.offsets, self._layout.sizes, strict=True)
        return [bytes(memory[offset : offset + size]) for offset, size in places]


class _Layout:
    """Words at multiples of their size, as in the parameter space of the kernel."""

    def __init__(self, codes: Sequence[str]) -> None:
        offsets, sizes, text, end = [], [], "=", 0
        for code in codes:
            for word in _ARRAY if code.endswith("[]") else (_WORDS[code],):
                size = struct.calcsize(f"={word}")
                gap = -end % (MAP_ALIGNMENT if size == MAP_BYTES else size)
                text += f"{gap}x{word}"
                offsets.append(end + gap)
                sizes.append(size)
                end += gap + size
        self.packer, self.offsets, self.sizes = struct.Struct(text), offsets, sizes


@cache
def _layout(params: tuple[tuple[str, str], ...]) -> _Layout:
    return _Layout([code for _, code in params])


def _words(code: str, arg: Arg, encode: Encode) -> tuple[Any, ...]:
    """The words of one argument; raises DeviceError for one of another sort, or that lies askew."""
    sorts = (Span,) if code.endswith("[]") else (Tiled, Im2col) if code == "map" else (int, float, np.number)
    if not isinstance(arg, sorts):
        raise DeviceError(f"is {code}, and cannot be {arg!r}")
    if isinstance(arg, Span):
        dtype = np.dtype(STORAGE[code[:-2]])
        if arg.address % dtype.itemsize:
            raise DeviceError(f"begins at {arg.address:#x}, not at a whole {dtype}")
        count = arg.nbytes // dtype.itemsize
        return 0, 0, count, dtype.itemsize, arg.address, count, dtype.itemsize
    return (encode(arg) if isinstance(arg, Tiled | Im2col) else arg,)


def _misfit(params: Sequence[tuple[str, str]], args: Sequence[Arg]) -> tuple[str, str, Arg]:
    """Name, code and value of the first argument that its words cannot hold."""
    for (name, code), arg in zip(params, args, strict=True):
        words = _words(code, arg, lambda map_: bytes(MAP_BYTES))
        try:
            struct.pack("=" + (_ARRAY if code.endswith("[]") else _WORDS[code]), *words)
        except (struct.error, OverflowError):
            return name, code, arg
    raise AssertionError("every argument fits")
