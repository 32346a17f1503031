"""Runs the CUDA kernels' own source in NumPy, without a GPU, Numba or a compiler: 32 lanes to an array.

It checks what the instructions compute, where they read and write, and that waits are neither missing
nor too few. It knows nothing of speed, bank conflicts, or proxies (fence.proxy).
"""

from .bind import bind
from .machine import Block, Deadlock, Timing
from .memory import BadAccess, Device
from .run import run

__all__ = ["BadAccess", "Block", "Deadlock", "Device", "Timing", "bind", "run"]
