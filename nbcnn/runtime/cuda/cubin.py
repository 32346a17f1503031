"""CUDA kernels by content: built once per compute capability and source text, loaded from then on.

A cubin is the machine code of one kernel for one family of GPUs. Building it takes numba-cuda and
nvJitLink (``pip install nbcnn[cuda]``) but neither a GPU nor a driver; a cached one needs nothing and
imports nothing. The key covers the kernel's source and its imports, the compilers' versions, the
configuration and the compute capability.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from nbcnn.errors import NbcnnError
from nbcnn.runtime import sources, store
from nbcnn.runtime.forks import ForkSafeLock

_TOOLS = ("numba-cuda", "numba", "llvmlite", "nvidia-nvvm", "nvidia-nvjitlink")
_COMPILER = ("nbcnn.runtime.cuda.cubin", "nbcnn.runtime.cuda.jit")  # and what they import


class Config(Protocol):
    """What a kernel is built from: a frozen dataclass, whose ``repr`` tells it from all others.

    ``factory`` is ``"module:function"``; ``params`` are names and type codes (`nbcnn.runtime.cuda.ptx`);
    ``threads`` a block has, ``blocks`` of which fit on a multiprocessor, each with ``smem`` bytes of
    dynamic shared memory.
    """

    @property
    def name(self) -> str: ...
    @property
    def factory(self) -> str: ...
    @property
    def params(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def threads(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def smem(self) -> int: ...

    def runs_on(self, capability: tuple[int, int]) -> bool: ...


@dataclass(frozen=True)
class Cubin:
    """Machine code and what the assembler said: registers a thread, bytes, warnings (C7510 and such)."""

    code: bytes
    entry: str
    arch: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    static_smem: int
    warnings: tuple[str, ...]
    tools: tuple[str, ...]


_lock = ForkSafeLock()
_loaded: dict[tuple[Config, tuple[int, int]], Cubin] = {}


def load(config: Config, capability: tuple[int, int]) -> Cubin:
    """The kernel for GPUs of ``capability``: from memory, from disk, or built. Thread-safe.

    Raises NbcnnError if the kernel cannot run there, does not compile, or the cache folder is unsafe.
    """
    found = _loaded.get((config, capability))
    if found is None:
        with _lock:
            found = _loaded.get((config, capability)) or _load(config, capability)
            _loaded[config, capability] = found
    return found


def key(config: Config, capability: tuple[int, int]) -> str:
    """The sha256 under which the cubin is kept."""
    module = config.factory.partition(":")[0]
    parts = (
        sources.digest((module,)),
        sources.digest(_COMPILER),
        tools(),
        architecture(capability),
        repr(config),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def architecture(capability: tuple[int, int]) -> str:
    """``sm_80``, ``sm_90a``: from 9.0 on with the instructions of that very architecture (wgmma)."""
    major, minor = capability
    return f"sm_{major}{minor}{'a' if major >= 9 else ''}"


@cache
def tools() -> tuple[str, ...]:
    """The compilers' versions, ``name version``; without a version where the package is not installed."""
    found = []
    for name in _TOOLS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(name)
    return tuple(found)


def build(config: Config, capability: tuple[int, int]) -> Cubin:
    """Compile and link, without the cache; raises NbcnnError."""
    if not config.runs_on(capability):
        major, minor = capability
        raise NbcnnError(f"kernel {config.name} does not run on compute capability {major}.{minor}")
    try:
        from nbcnn.runtime.cuda import jit  # imports Numba and numba-cuda
    except ImportError as error:
        raise NbcnnError(f"building CUDA kernels needs nbcnn[cuda]: {error}") from error
    arch = architecture(capability)
    code = jit.compile_lto(config, (*capability, arch.lstrip("sm_0123456789")))
    return _link(code, config.name, arch)


def _load(config: Config, capability: tuple[int, int]) -> Cubin:
    content = key(config, capability)
    name = f"{config.name}.{architecture(capability)}"
    payload = store.read(name, content)
    if payload is not None:
        return _unpack(payload)
    made = build(config, capability)
    sources.refresh()  # a file edited since it was read must not be kept under the old key
    if key(config, capability) == content:
        store.write(name, content, _pack(made))
    return made


def _pack(cubin: Cubin) -> bytes:
    head = json.dumps({k: v for k, v in asdict(cubin).items() if k != "code"}).encode()
    return len(head).to_bytes(4, "little") + head + cubin.code


def _unpack(payload: bytes) -> Cubin:
    end = 4 + int.from_bytes(payload[:4], "little")
    head: dict[str, Any] = json.loads(payload[4:end])
    head |= {name: tuple(head[name]) for name in ("warnings", "tools")}
    return Cubin(payload[end:], **head)


def _link(code: bytes, name: str, arch: str) -> Cubin:
    """LTO-IR to machine code. Linking PTX instead would drop ``setmaxnreg`` (warning C7504)."""
    nvjitlink: Any = import_module("cuda.bindings.nvjitlink")
    options = [f"-arch={arch}", "-lto", "-verbose"]
    handle = nvjitlink.create(len(options), options)
    try:
        try:
            nvjitlink.add_data(handle, nvjitlink.InputType.LTOIR, code, len(code), name)
            nvjitlink.complete(handle)
        except nvjitlink.nvJitLinkError as error:
            log = _text(nvjitlink.get_error_log_size, nvjitlink.get_error_log, handle)
            raise NbcnnError(f"kernel {name} does not link for {arch}: {log.strip() or error}") from error
        linked = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, linked)
        log = _text(nvjitlink.get_info_log_size, nvjitlink.get_info_log, handle)
    finally:
        nvjitlink.destroy(handle)
    return _report(bytes(linked), arch, log)


def _text(size_of, read, handle) -> str:
    buffer = bytearray(size_of(handle))
    read(handle, buffer)
    return buffer.decode(errors="replace").rstrip("\0")


def _report(code: bytes, arch: str, log: str) -> Cubin:
    """Read the assembler's log, for example ``Used 168 registers, 16 bytes smem``."""

    def number(pattern: str) -> int:
        found = re.search(pattern, log)
        return int(found.group(1)) if found else 0

    entry = re.search(r"Compiling entry function '(\S+)'", log)
    if entry is None:
        raise NbcnnError(f"the assembler's log names no kernel: {log[:200]!r}")
    return Cubin(
        code=code,
        entry=entry.group(1),
        arch=arch,
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spill_stores=number(r"(\d+) bytes spill stores"),
        spill_loads=number(r"(\d+) bytes spill loads"),
        static_smem=number(r"(\d+) bytes smem"),
        warnings=tuple(line.strip() for line in log.splitlines() if re.search(r"warning|\(C\d{4}\)", line)),
        tools=tools(),
    )
