"""Reading and writing elements: float32 in registers, ``f32``, ``f16`` or ``bf16`` (as bits) in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda, float32, types

from nbcnn.runtime.cuda.launcher import simulated


def reader(kind: str) -> Any:
    """Device function ``read(array, i) -> float32`` for arrays of ``kind``."""
    if kind == "bf16":

        def read(array, i):
            return np.uint32(np.uint32(array[i]) << np.uint32(16)).view(np.float32)
    else:

        def read(array, i):
            return float32(array[i])

    return cuda.jit(device=True)(read)


def writer(kind: str) -> Any:
    """Device function ``write(array, i, value)``, which rounds a float32 to nearest, ties to even.

    NaN stays NaN; what is too large becomes infinite.
    """
    if kind == "bf16":

        def write(array, i, value):
            bits = float32(value).view(np.uint32)
            odd = (bits >> np.uint32(16)) & np.uint32(1)
            rounded = np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
            array[i] = np.uint16(rounded if value == value else 0x7FC0)
    elif kind == "f16":
        float16 = types.float16

        def write(array, i, value):
            array[i] = float16(value)
    else:

        def write(array, i, value):
            array[i] = value

    return cuda.jit(device=True)(write)


def reader4(kind: str) -> Any:
    """Device function ``read(array, i)``: four float32 from ``i`` on, a multiple of four, by one access.

    ``array`` may lie in shared memory.
    """
    if not simulated():
        from nbcnn.runtime.cuda import jit

        return jit.load4(kind)
    read = reader(kind)

    def read4(array, i):
        assert i % 4 == 0, f"four neighbours from {i} on"
        return read(array, i), read(array, i + 1), read(array, i + 2), read(array, i + 3)

    return read4


def writer4(kind: str) -> Any:
    """Device function ``write(array, i, a, b, c, d)``: the inverse of `reader4`."""
    if not simulated():
        from nbcnn.runtime.cuda import jit

        return jit.store4(kind)
    write = writer(kind)

    def write4(array, i, a, b, c, d):
        assert i % 4 == 0, f"four neighbours from {i} on"
        for j, value in enumerate((a, b, c, d)):
            write(array, i + j, value)

    return write4
