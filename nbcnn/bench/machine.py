"""What the machine is, as far as it matters for reading a benchmark."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

FEATURES = {
    "avx2": "avx2",
    "fma": "fma",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_tile": "amx_tile",
    "amx_bf16": "amx_bf16",
    "amx_int8": "amx_int8",
    "asimd": "neon",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
}
"""Flags of /proc/cpuinfo that decide which kernels run, and what we call them."""


def describe(target: str = "cpu") -> dict[str, Any]:
    """CPU model, features, cores, frequency governor and versions; None for what is unreadable.

    For the target ``cuda`` the names of the GPU and its driver, too.
    """
    model, flags = _cpu()
    gpu = _gpu() if target == "cuda" else {}
    return gpu | {
        "cpu": model,
        "features": [ours for theirs, ours in FEATURES.items() if theirs in flags],
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numba": version("numba"),
        "numpy": version("numpy"),
    }


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def summary(machine: dict[str, Any]) -> str:
    """One line for people."""
    parts = [f"{machine['gpu']}, driver {machine['driver']}"] if "gpu" in machine else []
    parts += [machine["cpu"], f"{machine['usable_cores']} of {machine['cores']} cores"]
    if machine["features"]:
        parts.append(" ".join(machine["features"]))
    if machine["governor"]:
        parts.append(f"governor {machine['governor']}")
    parts.append(f"numba {machine['numba']}, numpy {machine['numpy']}")
    return ", ".join(parts)


def _cpu() -> tuple[str, set[str]]:
    model, flags = "", set()
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "model name" and not model:
            model = value
        elif key in ("flags", "Features") and not flags:
            flags = set(value.split())
    return model or platform.processor() or platform.machine(), flags


def _gpu() -> dict[str, str | None]:
    """The first GPU, without starting CUDA in this process."""
    words = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
        name, driver = said.splitlines()[0].rsplit(",", 1)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {"gpu": None, "driver": None}
    return {"gpu": name.strip(), "driver": driver.strip()}


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return None


def version(package: str) -> str | None:
    """The installed version of a package, without importing it; None when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
