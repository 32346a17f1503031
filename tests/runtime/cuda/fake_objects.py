"""What `fake_driver` is made of: result codes, handles, parameters of nodes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

CUresult = IntEnum(
    "CUresult",
    {
        "CUDA_SUCCESS": 0,
        "CUDA_ERROR_INVALID_VALUE": 1,
        "CUDA_ERROR_OUT_OF_MEMORY": 2,
        "CUDA_ERROR_NOT_INITIALIZED": 3,
        "CUDA_ERROR_DEINITIALIZED": 4,
        "CUDA_ERROR_NO_DEVICE": 100,
        "CUDA_ERROR_INVALID_DEVICE": 101,
        "CUDA_ERROR_INVALID_CONTEXT": 201,
        "CUDA_ERROR_INVALID_HANDLE": 400,
        "CUDA_ERROR_NOT_FOUND": 500,
        "CUDA_ERROR_ILLEGAL_ADDRESS": 700,
        "CUDA_ERROR_999": 999,
    },
)
ATTRIBUTES = {
    "COMPUTE_CAPABILITY_MAJOR": 75,
    "COMPUTE_CAPABILITY_MINOR": 76,
    "MULTIPROCESSOR_COUNT": 16,
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 97,
}


class Refused(Exception):
    """Ends a function with a result code."""


@dataclass(eq=False)
class Object:
    """A handle; ``str`` is its name in the log."""

    name: str
    alive: bool = True
    content: Any = None

    def __int__(self) -> int:
        return id(self)

    def __str__(self) -> str:
        return self.name


@dataclass
class Params:
    """CUDA_KERNEL_NODE_PARAMS."""

    func: Any = None
    gridDimX: int = 0
    gridDimY: int = 0
    gridDimZ: int = 0
    blockDimX: int = 0
    blockDimY: int = 0
    blockDimZ: int = 0
    sharedMemBytes: int = 0
    kernelParams: int = 0

    def launch(self) -> tuple[str, list[bytes], str]:
        """What the driver keeps: the kernel, the bytes of its arguments, and the line of the log."""
        entry, sizes = self.func.content
        pointers = (ctypes.c_void_p * len(sizes)).from_address(self.kernelParams)
        values = [ctypes.string_at(p or 0, size) for p, size in zip(pointers, sizes, strict=True)]
        grid = f"{self.gridDimX},{self.gridDimY},{self.gridDimZ}"
        block = f"{self.blockDimX},{self.blockDimY},{self.blockDimZ}"
        params = ",".join(v.hex() for v in values)
        return (
            entry,
            values,
            f" {entry} grid={grid} block={block} shared={self.sharedMemBytes} params={params}",
        )


@dataclass
class Settings:
    """What GPU there is."""

    devices: int = 1
    version: int = 13000
    major: int = 9
    minor: int = 0
    shared: int = 232448
    memory: int = 1 << 30


def listed(name: str, values: int, n: int, type_: Any) -> str:
    """`` name=1,2,3``: what a pointer points to, for the log."""
    return f" {name}=" + ",".join(map(str, (type_ * n).from_address(values))) if n else f" {name}="
