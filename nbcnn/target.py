"""The machine code is generated for: CPU, vector width, caches.

Follows Numba's own settings (``NUMBA_CPU_NAME``, ``NUMBA_CPU_FEATURES``, ``NUMBA_ENABLE_AVX``)
without importing Numba, so that a narrower machine can be imitated for a whole test run.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

# Numba switches AVX off on these: slow 256-bit units, or virtual machines that misreport it.
_NO_AVX = {"corei7-avx", "core-avx-i", "sandybridge", "ivybridge", "nocona"}
_SYSFS_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Target:
    """What kernels may assume; ``lanes`` counts float32 per vector, caches are in bytes."""

    name: str
    cpu: str
    features: str
    lanes: int
    fma: bool
    registers: int
    l1: int
    l2: int
    l3: int

    def has(self, feature: str) -> bool:
        """Whether an LLVM feature such as ``avx512vnni`` or ``amx-bf16`` is on."""
        return feature in _enabled(self.features)

    @property
    def size(self) -> int:
        """Bytes of an element of an image."""
        return 4

    @property
    def isa(self) -> str:
        """A short word for kernel names: ``avx512``, ``avx2``, ``avx``, ``neon`` or ``sse``."""
        if _is_arm():
            return "neon"
        if self.lanes == 16:
            return "avx512"
        if self.lanes == 8:
            return "avx2" if self.fma else "avx"
        return "sse"


STORED = {"float32": "f32", "3xtf32": "f32", "tf32": "f32", "float16": "f16", "bfloat16": "bf16"}
"""Precision -> the type that images have in a GPU's memory."""


@dataclass(frozen=True)
class CudaTarget:
    """What kernels for a GPU may assume; ``shared_memory`` is what a block may have, in bytes.

    ``threads`` is the most that a block of a plain kernel has (few in the simulator). Images lie as pixels of
    whole vectors of 16 bytes, in the ``kind`` that the ``precision`` asks for.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared_memory: int
    threads: int = 256
    precision: str = "float32"

    @property
    def kind(self) -> str:
        """The type of images in memory: ``f32``, ``f16`` or ``bf16``."""
        return STORED[self.precision]

    @property
    def size(self) -> int:
        """Bytes of an element of an image."""
        return 4 if self.kind == "f32" else 2

    @property
    def lanes(self) -> int:
        """Elements of a vector."""
        return 16 // self.size

    @property
    def isa(self) -> str:
        """A short word for kernel names: ``sm90``."""
        return "sm{}{}".format(*self.capability)


def detect() -> Target:
    """The CPU of this process, as Numba would see it."""
    import llvmlite.binding as llvm

    cpu = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if cpu.lower() == "generic" else _host_features(llvm, cpu)
    on = _enabled(features)
    arm = _is_arm()
    lanes = 16 if "avx512f" in on else 8 if "avx" in on else 4
    l1, l2, l3 = _caches()
    return Target(
        name="cpu",
        cpu=cpu,
        features=features,
        lanes=lanes,
        fma="fma" in on or arm,
        registers=32 if arm or lanes == 16 else 16,
        l1=l1,
        l2=l2,
        l3=l3,
    )


def _host_features(llvm, cpu: str) -> str:
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know how to ask this operating system
        return ""
    enable = os.environ.get("NUMBA_ENABLE_AVX", "")
    if not (int(enable) if enable.strip().isdecimal() else cpu not in _NO_AVX):  # as Numba reads it
        for feature in features:
            if feature.startswith("avx"):
                features[feature] = False
    return features.flatten()


def _enabled(features: str) -> set[str]:
    """The names switched on in LLVM's ``+a,-b,+c``; the last word on a name wins."""
    on: set[str] = set()
    for item in features.split(","):
        (on.add if item.startswith("+") else on.discard)(item[1:])
    return on


def _is_arm() -> bool:
    return platform.machine().lower() in ("aarch64", "arm64")


def _caches() -> tuple[int, int, int]:
    """Data cache sizes in bytes: Linux tells; elsewhere a modest guess that tiling survives."""
    sizes = {1: 32 << 10, 2: 1 << 20, 3: 8 << 20}
    for index in range(6):
        folder = _SYSFS_CACHES / f"index{index}"
        try:
            if (folder / "type").read_text().strip() == "Instruction":
                continue
            size = (folder / "size").read_text().strip()
            level = int((folder / "level").read_text())
            sizes[level] = int(size[:-1]) * _UNITS[size[-1]]
        except (OSError, ValueError, KeyError, IndexError):
            continue
    return sizes[1], sizes[2], sizes[3]
