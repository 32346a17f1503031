"""Kernels by content: compiled once per machine and source text, loaded from then on.

The key covers whatever the object code depends on: the kernel's source and its imports, the
compiler's versions, the CPU and the parameters. A hit never imports Numba.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from nbcnn.runtime import loader, sources, store
from nbcnn.runtime.forks import ForkSafeLock
from nbcnn.target import Target

# Numba's settings that change the code it generates.
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO", "LLVM_REFPRUNE_PASS")
_COMPILER = "nbcnn.runtime.jit"


@dataclass(frozen=True)
class KernelSpec:
    """A kernel to be had: ``factory`` is ``"module:function"``, ``params`` are its integers.

    ``name`` decodes for people (``f32_igemm_14x2__avx512``: letters, digits, underscores) and
    prefixes the symbol; ``fastmath`` holds LLVM flag names such as ``contract``.
    """

    factory: str
    params: tuple[tuple[str, int], ...]
    name: str
    fastmath: tuple[str, ...] = ()


_lock = ForkSafeLock()
_addresses: dict[tuple[KernelSpec, Target], int] = {}


def load(spec: KernelSpec, target: Target) -> int:
    """Address of the kernel, valid until the process ends: from memory, from disk, or compiled.

    Thread-safe. Raises NbcnnError if the kernel does not compile or the cache folder is unsafe.
    """
    address = _addresses.get((spec, target))
    if address is None:
        with _lock:
            address = _addresses.get((spec, target))
            if address is None:
                address = _addresses[spec, target] = _load(spec, target)
    return address


def key(spec: KernelSpec, target: Target) -> str:
    """The sha256 under which the object code is kept."""
    module = spec.factory.partition(":")[0]
    parts = (
        sources.digest((module,)),
        sources.digest((_COMPILER,)),
        _versions(),
        tuple(os.environ.get(f"NUMBA_{name}") for name in _SETTINGS),
        (target.cpu, target.features),
        (spec.factory, sorted(spec.params), spec.name, sorted(spec.fastmath)),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def info() -> dict[str, object]:
    """Folder, files, bytes and limit of the cache, and the kernels loaded in this process."""
    return {**store.info(), "loaded": len(_addresses)}


def clear() -> int:
    """Remove every stored kernel; returns how many. Those already loaded keep working."""
    sources.refresh()
    return store.clear()


def warm(
    specs: Iterable[tuple[KernelSpec, Target]],
    progress: Callable[[int, int, str], None] | None = None,
) -> int:
    """Load each kernel, compiling what is missing; ``progress(done, total, name)`` after each."""
    wanted = list(specs)
    for done, (spec, target) in enumerate(wanted, 1):
        load(spec, target)
        if progress:
            progress(done, len(wanted), spec.name)
    return len(wanted)


def _load(spec: KernelSpec, target: Target) -> int:
    content = key(spec, target)
    symbol = f"{spec.name}_{content[:8]}"
    code = store.read(spec.name, content)
    if code is None:
        code = _compile(spec, target, symbol)
        sources.refresh()  # a file edited since it was read must not be kept under the old key
        if key(spec, target) == content:
            store.write(spec.name, content, code)
    return loader.load_object(code, symbol, target)


def _compile(spec: KernelSpec, target: Target, symbol: str) -> bytes:
    from nbcnn.runtime import jit  # imports Numba

    return jit.compile_object(spec.factory, dict(spec.params), target, symbol=symbol, fastmath=spec.fastmath)


@cache
def _versions() -> tuple[str, ...]:
    return (version("numba"), version("llvmlite"), f"{sys.version_info[0]}.{sys.version_info[1]}")
