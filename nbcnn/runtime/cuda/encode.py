"""Tensor maps as the 128 bytes that the TMA unit reads: encoded by the driver.

Reference: cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col. They are called by their address because
they write to a multiple of 64 bytes, which objects of cuda.bindings need not be. The driver says of a map it
refuses no more than that, so its limits are checked here.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda.arguments import MAP_ALIGNMENT, MAP_BYTES
from nbcnn.runtime.cuda.maps import Im2col, Tiled
from nbcnn.runtime.cuda.results import explain

_TYPES = {"s8": (0, 1), "f16": (6, 2), "f32": (7, 4), "tf32": (7, 4), "bf16": (9, 2)}
"""CUtensorMapDataType and bytes; tf32 travels as float32, whose low bits the tensor core ignores."""
_TAIL = (0, 3, 3, 0)  # not interleaved, rows of 128 bytes swizzled, L2 fetches 256 bytes, outside is zero
_VERSION = 12000

_int, _uint, _void = ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
_head = (_void, _int, _uint, _void, _void, _void)  # map, type, rank, address, extents, pitches
_TILED = ctypes.CFUNCTYPE(_int, *_head, _void, _void, *(_int,) * 4)
_IM2COL = ctypes.CFUNCTYPE(_int, *_head, _void, _void, _uint, _uint, _void, *(_int,) * 4)


class Encoder:
    """Encodes maps with the functions of ``driver``, a module like ``cuda.bindings.driver``."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._tiled = _TILED(self._address(b"cuTensorMapEncodeTiled"))
        self._im2col = _IM2COL(self._address(b"cuTensorMapEncodeIm2col"))

    def __call__(self, map_: Tiled | Im2col) -> bytes:
        """The map's 128 bytes; raises DeviceError for what the TMA unit cannot do. Needs no context."""
        for problem in _problems(map_):
            raise DeviceError(f"is a tensor map that there cannot be: {problem}")
        memory = ctypes.create_string_buffer(MAP_BYTES + MAP_ALIGNMENT)
        target = ctypes.addressof(memory) + -ctypes.addressof(memory) % MAP_ALIGNMENT
        rank = len(map_.extents)
        extents, pitches = _packed("Q", map_.extents), _packed("Q", map_.pitches)
        head = target, _TYPES[map_.kind][0], rank, map_.address, extents, pitches
        if isinstance(map_, Tiled):
            name, steps = "cuTensorMapEncodeTiled", _packed("I", (1,) * rank)
            code = self._tiled(*head, _packed("I", map_.box), steps, *_TAIL)
        else:
            name, steps = "cuTensorMapEncodeIm2col", _packed("I", (1, *map_.strides, 1))
            corners = _packed("i", map_.lower), _packed("i", map_.upper)
            code = self._im2col(*head, *corners, map_.channels, map_.pixels, steps, *_TAIL)
        if code:
            problem = explain(self._driver, name, self._driver.CUresult(code))
            raise DeviceError(f"is {map_}: {problem}")
        return ctypes.string_at(target, MAP_BYTES)

    def _address(self, name: bytes) -> int:
        code, address, _ = self._driver.cuGetProcAddress(name, _VERSION, 0)
        if code or not address:
            raise DeviceError(f"the driver has no {name.decode()}: install a newer one")
        return address


def _packed(code: str, values: Sequence[int]) -> bytes:
    """An array of C."""
    return struct.pack(f"{len(values)}{code}", *values)


def _problems(map_: Tiled | Im2col) -> Iterator[str]:
    """The limits of the TMA unit that the map breaks."""
    rank = len(map_.extents)
    row = (map_.box[0] if isinstance(map_, Tiled) else map_.channels) * map_.size
    if _TYPES.get(map_.kind, (0, 0))[1] != map_.size:
        yield f"no elements of {map_.kind} in {map_.size} bytes"
    if len(map_.pitches) != rank - 1:
        yield f"{len(map_.pitches)} pitches for {rank} extents"
    if map_.address % 16:
        yield f"its address {map_.address:#x} is not a multiple of 16"
    if not all(0 < n <= 1 << 32 for n in map_.extents):
        yield f"extents {map_.extents} are not from 1 to 2^32"
    if not all(0 < n < 1 << 40 and n % 16 == 0 for n in map_.pitches):
        yield f"pitches {map_.pitches} are not multiples of 16 below 2^40"
    if row not in range(16, 129, 16):
        yield f"rows of {row} bytes are not multiples of 16 to 128"
    if isinstance(map_, Tiled):
        if not len(map_.box) == rank <= 5:
            yield f"{len(map_.box)} sides of a box for {rank} extents, of at most 5"
        if not all(0 < n <= 256 for n in map_.box):
            yield f"sides of a box, {map_.box}, are not from 1 to 256"
        return
    corners = (*map_.lower, *map_.upper)
    if not all(-128 <= n <= 127 for n in corners):
        yield f"corners {corners} are not from -128 to 127"
    if not all(0 < n <= 8 for n in map_.strides):
        yield f"strides {map_.strides} are not from 1 to 8"
    if not (0 < map_.channels <= 256 and 0 < map_.pixels <= 1024):
        yield f"{map_.channels} channels of {map_.pixels} pixels: 256 and 1024 are the most"
