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
        start = 0
        for i in self._layout.wide:  # numbers are judged by the packer, all of them at once
            values += args[start:i]
            name, code = params[i]
            try:
                values += _array(code, args[i]) if code != "map" else [_map(args[i], encode)]
            except DeviceError as error:
                raise DeviceError(f"{kernel}: {name} {error}") from error
            start = i + 1
        values += args[start:]
        try:
            self._layout.packer.pack_into(self._memory, self._base, *values)
        except (struct.error, OverflowError, TypeError) as error:
            raise DeviceError(f"{kernel}: {_misfit(params, args)}") from error

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
            for word in _words(code):
                size = struct.calcsize(f"={word}")
                gap = -end % (MAP_ALIGNMENT if size == MAP_BYTES else size)
                text += f"{gap}x{word}"
                offsets.append(end + gap)
                sizes.append(size)
                end += gap + size
        self.packer, self.offsets, self.sizes = struct.Struct(text), offsets, sizes
        self.wide = [i for i, code in enumerate(codes) if code == "map" or code.endswith("[]")]


@cache
def _layout(params: tuple[tuple[str, str], ...]) -> _Layout:
    return _Layout([code for _, code in params])


def _words(code: str) -> Sequence[str]:
    return _ARRAY if code.endswith("[]") else (_WORDS[code],)


def _array(code: str, arg: Arg) -> tuple[int, ...]:
    """The words of an array; raises DeviceError for another argument, or an array that lies askew."""
    if not isinstance(arg, Span):
        raise DeviceError(f"is {code}, and cannot be {arg!r}")
    dtype = np.dtype(STORAGE[code[:-2]])
    if arg.address % dtype.itemsize:
        raise DeviceError(f"begins at {arg.address:#x}, not at a whole {dtype}")
    count = arg.nbytes // dtype.itemsize
    return 0, 0, count, dtype.itemsize, arg.address, count, dtype.itemsize


def _map(arg: Arg, encode: Encode) -> bytes:
    """The bytes of a tensor map; raises DeviceError for another argument."""
    if not isinstance(arg, Tiled | Im2col):
        raise DeviceError(f"is map, and cannot be {arg!r}")
    return encode(arg)


def _misfit(params: Sequence[tuple[str, str]], args: Sequence[Arg]) -> str:
    """What is wrong with the first argument that does not fit its words; maps always do."""
    for (name, code), arg in zip(params, args, strict=True):
        array = code.endswith("[]")
        values = _array(code, arg) if array else (arg,)
        try:
            if code != "map":
                struct.pack("=" + "".join(_words(code)), *values)
        except (struct.error, OverflowError, TypeError):
            if array or isinstance(arg, int | float | np.number):
                return f"{name} = {arg} does not fit {code}"
            return f"{name} is {code}, and cannot be {arg!r}"
    raise AssertionError("every argument fits")
