"""Reading and writing elements: float32 in registers, ``f32``, ``f16`` or ``bf16`` (as bits) in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, float16, float32

from nbcnn.runtime.cuda.launcher import simulated


def reader(kind: str) -> Any:
    """Device function ``read(array, i) -> float32`` for arrays of ``kind``."""
    if kind == "bf16":
        widen = _from_bfloat16()

        def read(array, i):
            return widen(array[i])
    else:

        def read(array, i):
            return float32(array[i])

    return cuda.jit(device=True)(read)


def writer(kind: str) -> Any:
    """Device function ``write(array, i, value)``, which rounds a float32 to nearest even."""
    if kind == "bf16":
        narrow = _to_bfloat16()

        def write(array, i, value):
            array[i] = narrow(value)
    elif kind == "f16":

        def write(array, i, value):
            array[i] = float16(value)
    else:

        def write(array, i, value):
            array[i] = value

    return cuda.jit(device=True)(write)


def _from_bfloat16() -> Callable[[Any], Any]:
    if simulated():
        return lambda bits: (np.uint32(bits) << np.uint32(16)).view(np.float32)
    from nbcnn.runtime.cuda import jit

    return jit.from_bfloat16


def _to_bfloat16() -> Callable[[Any], Any]:
    if simulated():
        from nbcnn.kernels.cuda.packing import to_bfloat16

        return lambda value: to_bfloat16(np.float32(value))
    from nbcnn.runtime.cuda import jit

    return jit.to_bfloat16
