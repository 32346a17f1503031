"""``cuda.bindings.driver`` without a GPU: what stub_libcuda.c is, in Python, with the same log.

Functions give tuples that begin with a result code; a function's own errors are raised as `Refused`.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any

from fake_objects import ATTRIBUTES, CUresult, Object, Params, Refused, Settings, listed

from nbcnn.runtime.cuda import encode

VALUE, MEMORY, UNREADY, GONE, NO_CONTEXT = 1, 2, 3, 400, 201


@dataclass
class FakeDriver:
    """Stands for the module; ``fail(name, code, times)`` makes calls fail, ``*`` all of them."""

    gpu: Settings = field(default_factory=Settings)
    lines: list[str] = field(default_factory=list)

    CUresult = CUresult
    CUdevice_attribute = SimpleNamespace(**{f"CU_DEVICE_ATTRIBUTE_{k}": v for k, v in ATTRIBUTES.items()})
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    CUDA_KERNEL_NODE_PARAMS = Params

    def __post_init__(self) -> None:
        self._owner = 0
        self._failing: list[Any] = ["", 0, 0]
        self._thread = threading.local()
        self._lock = threading.RLock()
        self._ids: dict[str, Any] = {}
        self._streams: dict[int, Object] = {0: Object("default0")}
        self._blocks: dict[int, tuple[Any, int, bool]] = {}  # address: memory, bytes, page-locked
        self._queue: list[tuple[int, int, int]] = []
        self._done = 0
        self._encoders = {
            b"cuTensorMapEncodeTiled": encode._TILED(self._tiled),
            b"cuTensorMapEncodeIm2col": encode._IM2COL(self._im2col),
        }

    def fail(self, name: str, code: int, times: int) -> None:
        self._failing = [name, code, times]

    @property
    def depth(self) -> int:
        return getattr(self._thread, "depth", 0)

    def __getattr__(self, name: str) -> Callable[..., tuple]:
        """``cuX`` is ``_cuX`` with what every function does first; ``_cuX_`` needs no context."""
        with_context = getattr(type(self), f"_{name}", None)
        function = with_context or getattr(type(self), f"_{name}_", None)
        if function is None or not name.startswith("cu"):
            raise AttributeError(name)

        def call(*args: Any) -> tuple:
            with self._lock:
                failing, code, times = self._failing
                if times and (failing == name or (failing == "*" and not name.startswith("cuCtxP"))):
                    self._failing[2] -= times > 0
                    return (CUresult(code),)
                if name not in ("cuInit", "cuDriverGetVersion") and self._owner != os.getpid():
                    return (CUresult(UNREADY),)
                if with_context and not self.depth:
                    return (CUresult(NO_CONTEXT),)
                try:
                    found = function(self, *args)
                except Refused as refused:
                    return (CUresult(refused.args[0]),)
            several = found if isinstance(found, tuple) else () if found is None else (found,)
            return (CUresult(0), *several)

        return call

    def CUstream(self, stream: int) -> Object:
        return self._streams[stream]

    def cuGetErrorName(self, code: int) -> tuple:
        return 0, CUresult(code).name.encode()

    def cuGetErrorString(self, code: int) -> tuple:
        return 0, b"an error of the stub"

    def cuGetProcAddress(self, name: bytes, version: int, flags: int) -> tuple:
        return 0, ctypes.cast(self._encoders[name], ctypes.c_void_p).value, 0

    def _note(self, line: str) -> None:
        self.lines.append(line)

    def _make(self, kind: str, content: Any = None) -> Object:
        number = next(self._ids.setdefault(kind, count(1)))
        return Object(f"{kind}{number}", content=content)

    # devices and contexts
    def _cuInit_(self, flags: int) -> None:
        self._note("cuInit")
        if self._owner not in (0, os.getpid()):
            raise Refused(UNREADY)
        if not self.gpu.devices:
            raise Refused(100)
        self._owner = os.getpid()

    def _cuDriverGetVersion_(self) -> int:
        return self.gpu.version

    def _cuDeviceGetCount_(self) -> int:
        return self.gpu.devices

    def _cuDeviceGet_(self, index: int) -> int:
        return index

    def _cuDeviceGetName_(self, size: int, device: int) -> bytes:
        return b"Stub H200".ljust(size, b"\0")

    def _cuDeviceTotalMem_(self, device: int) -> int:
        return self.gpu.memory

    def _cuDeviceGetAttribute_(self, which: int, device: int) -> int:
        return {75: self.gpu.major, 76: self.gpu.minor, 16: 132, 97: self.gpu.shared}[which]

    def _cuDevicePrimaryCtxRetain_(self, device: int) -> Object:
        self._note(f"cuDevicePrimaryCtxRetain {device}")
        return self._make("context")

    def _cuCtxPushCurrent_(self, context: Object) -> None:
        self._thread.depth = self.depth + 1

    def _cuCtxPopCurrent(self) -> int:
        self._thread.depth -= 1
        return 0

    def _cuCtxSynchronize(self) -> None:
        self._note("cuCtxSynchronize")
        self._drain()

    # memory
    def _allocate(self, nbytes: int, pinned: bool) -> int:
        if not pinned and nbytes > self._cuMemGetInfo()[0]:
            raise Refused(MEMORY)
        memory = ctypes.create_string_buffer(b"\xff" * (nbytes + 512))
        address = -(-ctypes.addressof(memory) // 512) * 512
        self._blocks[address] = memory, nbytes, pinned
        return address

    def _held(self, address: int, nbytes: int, pinned: bool) -> bool:
        blocks = self._blocks.items()
        return any(p is pinned and a <= address and address + nbytes <= a + n for a, (_, n, p) in blocks)

    def _need(self, condition: Any, code: int) -> None:
        if not condition:
            raise Refused(code)

    def _cuMemAlloc(self, nbytes: int) -> int:
        address = self._allocate(nbytes, False)
        self._note(f"cuMemAlloc {nbytes} {address:#x}")
        return address

    def _cuMemFree(self, address: int) -> None:
        self._need(not self._blocks.get(address, (0, 0, True))[2], VALUE)
        self._note(f"cuMemFree {address:#x}")
        self._drain()
        del self._blocks[address]

    def _cuMemGetInfo(self) -> tuple[int, int]:
        taken = sum(nbytes for _, nbytes, pinned in self._blocks.values() if not pinned)
        return self.gpu.memory - taken, self.gpu.memory

    def _cuMemHostAlloc(self, nbytes: int, flags: int) -> int:
        self._note(f"cuMemHostAlloc {nbytes} flags={flags}")
        return self._allocate(nbytes, True)

    def _cuMemFreeHost(self, address: int) -> None:
        self._note("cuMemFreeHost")
        end = address + self._blocks[address][1]
        waiting = self._queue[self._done :]
        self._need(not any(address <= source < end for _, source, _ in waiting), GONE)
        del self._blocks[address]

    def _cuMemcpyHtoDAsync(self, target: int, source: int, nbytes: int, stream: Object) -> None:
        self._need(self._held(target, nbytes, False), VALUE)
        self._note(f"cuMemcpyHtoDAsync {target:#x} {nbytes} {stream}")
        self._queue.append((target, source, nbytes))
        if not self._held(source, nbytes, True):
            self._drain()

    def _cuMemcpyDtoHAsync(self, target: int, source: int, nbytes: int, stream: Object) -> None:
        self._need(self._held(source, nbytes, False), VALUE)
        self._note(f"cuMemcpyDtoHAsync {source:#x} {nbytes} {stream}")
        self._drain()
        ctypes.memmove(target, source, nbytes)

    def _drain(self, until: int | None = None) -> None:
        end = len(self._queue) if until is None else max(until, self._done)
        for target, source, nbytes in self._queue[self._done : end]:
            ctypes.memmove(target, source, nbytes)
        self._done = end

    # streams and events
    def _cuStreamCreate(self, flags: int) -> Object:
        stream = self._make("stream")
        self._streams[id(stream)] = stream
        self._note(f"cuStreamCreate flags={flags} {stream}")
        return stream

    def _cuStreamDestroy(self, stream: Object) -> None:
        self._end("cuStreamDestroy", stream)

    def _cuStreamSynchronize(self, stream: Object) -> None:
        self._need(stream.alive, GONE)
        self._note(f"cuStreamSynchronize {stream}")
        self._drain()

    def _cuStreamWaitEvent(self, stream: Object, event: Object, flags: int) -> None:
        self._note(f"cuStreamWaitEvent {stream} {event}")

    def _cuEventCreate(self, flags: int) -> Object:
        event = self._make("event", 0)
        self._note(f"cuEventCreate flags={flags} {event}")
        return event

    def _cuEventDestroy(self, event: Object) -> None:
        self._end("cuEventDestroy", event)

    def _cuEventRecord(self, event: Object, stream: Object) -> None:
        self._need(event.alive, GONE)
        event.content = len(self._queue)
        self._note(f"cuEventRecord {event} {stream}")

    def _cuEventSynchronize(self, event: Object) -> None:
        self._need(event.alive, GONE)
        self._note(f"cuEventSynchronize {event}")
        self._drain(event.content)

    def _cuEventElapsedTime(self, start: Object, end: Object) -> float:
        return float(end.content - start.content)

    def _end(self, name: str, thing: Object) -> None:
        self._need(thing.alive, GONE)
        thing.alive = False
        self._note(f"{name} {thing}")

    # kernels and graphs
    def _cuModuleLoadData(self, image: bytes) -> Object:
        entry, *sizes = image.rstrip(b"\0").decode().split()
        module = self._make("module", (entry, [*map(int, sizes)]))
        self._note(f"cuModuleLoadData {module}")
        return module

    def _cuModuleGetFunction(self, module: Object, name: bytes) -> Object:
        self._need(module.content[0] == name.decode(), 500)
        self._note(f"cuModuleGetFunction {module} {name.decode()}")
        return module

    def _cuFuncSetAttribute(self, function: Object, attribute: int, value: int) -> None:
        self._note(f"cuFuncSetAttribute {function} {attribute}={value}")

    def _cuGraphCreate(self, flags: int) -> Object:
        graph = self._make("graph", {})
        self._note(f"cuGraphCreate {graph}")
        return graph

    def _cuGraphAddKernelNode(self, graph: Object, after: Sequence[Object], n: int, params: Params) -> Object:
        node = self._make("node")
        graph.content[node] = params.launch()
        self._note(
            f"cuGraphAddKernelNode {graph} {node} after={''.join(map(str, after))}{graph.content[node][2]}"
        )
        return node

    def _cuGraphInstantiate(self, graph: Object, flags: int) -> Object:
        executable = self._make("exec", dict(graph.content))
        self._note(f"cuGraphInstantiate {graph} {executable}")
        return executable

    def _cuGraphExecKernelNodeSetParams(self, executable: Object, node: Object, params: Params) -> None:
        self._need(node in executable.content, VALUE)
        executable.content[node] = params.launch()
        self._note(f"cuGraphExecKernelNodeSetParams {executable} {node}{executable.content[node][2]}")

    def _cuGraphLaunch(self, executable: Object, stream: Object) -> None:
        self._need(executable is not None and executable.alive, GONE)
        self._note(f"cuGraphLaunch {executable} {stream}")
        for entry, values, _ in executable.content.values():
            if entry == "copy":
                self._queue.append(tuple(int.from_bytes(v, "little") for v in values))  # type: ignore[arg-type]

    def _cuGraphExecDestroy(self, executable: Object) -> None:
        self._end("cuGraphExecDestroy", executable)

    def _cuGraphDestroy(self, graph: Object) -> None:
        self._end("cuGraphDestroy", graph)

    # tensor maps
    def _tiled(self, map_: int, *args: Any) -> int:
        type_, rank, address, extents, pitches, box, steps, *tail = args
        line = self._head("cuTensorMapEncodeTiled", map_, type_, rank, address, extents, pitches)
        line += listed("box", box, rank, ctypes.c_uint32) + listed("steps", steps, rank, ctypes.c_uint32)
        return self._tail(map_, line, tail)

    def _im2col(self, map_: int, *args: Any) -> int:
        type_, rank, address, extents, pitches, lower, upper, channels, pixels, steps, *tail = args
        line = self._head("cuTensorMapEncodeIm2col", map_, type_, rank, address, extents, pitches)
        line += listed("lower", lower, rank - 2, ctypes.c_int) + listed(
            "upper", upper, rank - 2, ctypes.c_int
        )
        line += f" channels={channels} pixels={pixels}" + listed("steps", steps, rank, ctypes.c_uint32)
        return self._tail(map_, line, tail)

    def _head(
        self, name: str, map_: int, type_: int, rank: int, address: int, extents: int, pitches: int
    ) -> str:
        line = f"{name} aligned={int(map_ % 64 == 0)} type={type_} address={address or 0:#x}"
        long = ctypes.c_uint64
        return line + listed("extents", extents, rank, long) + listed("pitches", pitches, rank - 1, long)

    def _tail(self, map_: int, line: str, tail: Sequence[int]) -> int:
        interleave, swizzle, l2, fill = tail
        name = line.partition(" ")[0]
        failing, code, times = self._failing
        if times and failing in (name, "*"):
            self._failing[2] -= times > 0
            return code
        self._note(f"{line} interleave={interleave} swizzle={swizzle} l2={l2} fill={fill}")
        ctypes.memmove(map_, bytes(range(128)), 128)
        return 0
