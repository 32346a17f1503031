"""Plain Numba kernels: what one is built from, and how it reads and writes the types that lie in memory.

``make(**constants)`` of a module in `nbcnn.kernels.cuda.simt` returns an undecorated function of arrays
and numbers in the manner of ``@cuda.jit``; its source is the same for a GPU and for Numba's simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

STORAGE = {
    **{"f32": np.float32, "f16": np.float16, "bf16": np.uint16},
    **{"u8": np.uint8, "i32": np.int32, "i64": np.int64},
}
"""Types of array parameters (``"f16[]"``) and of their elements in NumPy; bfloat16 travels as its bits."""


@dataclass(frozen=True)
class Simt:
    """A kernel: ``factory`` is ``"module:function"``, called with ``constants``.

    ``params`` are names and type codes: those of `nbcnn.runtime.cuda.ptx`, or an array, ``"f32[]"``. Blocks
    are one row of ``threads``; ``blocks`` of them should fit on a multiprocessor. Shared memory is declared
    in the kernel.
    """

    name: str
    factory: str
    constants: tuple[tuple[str, Any], ...]
    params: tuple[tuple[str, str], ...]
    threads: int = 256
    blocks: int = 1
    smem: int = 0

    def runs_on(self, capability: tuple[int, int]) -> bool:
        return True

    def make(self) -> Callable[..., None]:
        """The undecorated kernel."""
        module, _, function = self.factory.partition(":")
        return getattr(import_module(module), function)(**dict(self.constants))
