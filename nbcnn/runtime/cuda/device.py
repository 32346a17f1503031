"""A GPU behind its driver, through ``cuda.bindings``: memory, streams, kernels, graphs.

Work is done in the device's primary context, which PyTorch and CuPy use too: their arrays and streams are
good here. A graph is built node by node, not captured: no other thread can disturb it, and its arguments
can be changed. Neither importing this module nor running kernels that are kept imports Numba.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda import cubin, driver
from nbcnn.runtime.cuda.arguments import Block
from nbcnn.runtime.cuda.cubin import Config
from nbcnn.runtime.cuda.driver import Driver
from nbcnn.runtime.cuda.encode import Encoder
from nbcnn.runtime.cuda.launcher import Launch
from nbcnn.runtime.cuda.pool import Pool
from nbcnn.runtime.cuda.results import amount
from nbcnn.runtime.cuda.staging import Staging
from nbcnn.runtime.forks import ForkSafeLock

LEAST_CAPABILITY = (7, 5)
"""The oldest GPUs that the compilers of CUDA 13 write code for."""
STATIC_SHARED_MEMORY = 48 << 10
"""Bytes a block may have without asking for more."""
_NON_BLOCKING, _TIMING, _NO_TIMING = 1, 0, 2
_FORKED = (
    "the GPU was in use before this process was forked, and CUDA does not survive a fork: use it only in the "
    "child, or start processes with multiprocessing's 'spawn'"
)


@dataclass
class Stream:
    """A stream, its staging memory, and the graphs started on it since it was last waited for."""

    handle: Any
    staging: Staging
    started: dict[Graph, None] = field(default_factory=dict)


class Graph:
    """Kernels in a row: the driver's graph, its executable form, a node and its arguments for each."""

    def __init__(self, handle: Any) -> None:
        self.handle, self.executable = handle, None
        self.launches: list[Launch] = []
        self.nodes: list[tuple[Any, Any, Block]] = []  # node, its parameters, what they point to

    def __str__(self) -> str:
        names = list(dict.fromkeys(launch.config.name for launch in self.launches))
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        return f"a graph of {', '.join(names[:4])}{more}"


class Device:
    """`nbcnn.runtime.cuda.launcher.Launcher` on GPU ``index``; `open_device` makes the one of each GPU.

    ``api`` is the module ``cuda.bindings.driver``, made ready, or one that behaves like it.
    """

    threads = 256

    def __init__(self, api: Any, index: int) -> None:
        self.index = index
        self._driver = driver = Driver(api, f"GPU {index}")
        device = driver.bare("cuDeviceGet", index)

        def attribute(name: str) -> int:
            which = getattr(api.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
            return driver.bare("cuDeviceGetAttribute", which, device)

        label: bytes = driver.bare("cuDeviceGetName", 256, device)
        self.name = driver.label = f"{label.partition(bytes(1))[0].decode()} (GPU {index})"
        self.capability = (attribute("COMPUTE_CAPABILITY_MAJOR"), attribute("COMPUTE_CAPABILITY_MINOR"))
        if self.capability < LEAST_CAPABILITY:
            found, least = (".".join(map(str, c)) for c in (self.capability, LEAST_CAPABILITY))
            raise DeviceError(f"{self.name} has compute capability {found}: nbcnn needs {least} or more")
        self.multiprocessors = attribute("MULTIPROCESSOR_COUNT")
        self.shared_memory = attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN")
        self.memory: int = driver.bare("cuDeviceTotalMem", device)
        driver.context = driver.bare("cuDevicePrimaryCtxRetain", device)
        driver.running = self._running
        self._pool = Pool(driver)
        self._encode = Encoder(api)
        self._streams: dict[int, Stream] = {}
        self._others = Stream(None, Staging(driver))  # streams that are not of this object's making
        self._functions: dict[Config, Any] = {}
        self._loading = ForkSafeLock()

    def session(self) -> AbstractContextManager[None]:
        return self._driver

    def allocate(self, nbytes: int) -> int:
        return self._pool.allocate(nbytes)

    def free(self, address: int) -> None:
        self._pool.free(address)

    def stream(self) -> int:
        handle = self._driver.call("cuStreamCreate", _NON_BLOCKING)
        self._streams[int(handle)] = Stream(handle, Staging(self._driver))
        return int(handle)

    def end_stream(self, stream: int) -> None:
        found = self._streams.pop(stream, None)
        if found is None:
            raise DeviceError(f"{self.name}: there is no stream {stream:#x} to end")
        self._driver.release("cuStreamSynchronize", found.handle)
        found.staging.close()
        self._driver.release("cuStreamDestroy", found.handle)

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        where = self._stream(stream)
        where.staging.upload(address, _as_bytes(array), where.handle)

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        target = _as_bytes(array)
        if target.size:
            handle = self._stream(stream).handle
            self._driver.call("cuMemcpyDtoHAsync", target.ctypes.data, address, target.size, handle)

    def synchronize(self, stream: int) -> None:
        where = self._stream(stream)
        self._driver.call("cuStreamSynchronize", where.handle)
        where.started.clear()

    def wait(self, stream: int, other: int) -> None:
        event = self._driver.call("cuEventCreate", _NO_TIMING)
        try:
            self._driver.call("cuEventRecord", event, self._stream(other).handle)
            self._driver.call("cuStreamWaitEvent", self._stream(stream).handle, event, 0)
        finally:
            self._driver.release("cuEventDestroy", event)  # takes effect once it has been reached

    def prepare(self, config: Config) -> None:
        self._function(config)

    def graph(self, launches: Sequence[Launch]) -> Graph:
        graph = Graph(self._driver.call("cuGraphCreate", 0))
        try:
            before: list[Any] = []
            for launch in launches:
                params, block = self._node(launch)
                with _naming(launch.config):
                    node = self._driver.call(
                        "cuGraphAddKernelNode", graph.handle, before, len(before), params
                    )
                graph.launches.append(launch)
                graph.nodes.append((node, params, block))
                before = [node]
            graph.executable = self._driver.call("cuGraphInstantiate", graph.handle, 0)
        except BaseException:
            self.end_graph(graph)
            raise
        return graph

    def change(self, graph: Graph, index: int, launch: Launch) -> None:
        old = graph.launches[index]
        if (launch.config, launch.grid) != (old.config, old.grid):
            raise DeviceError(f"{self.name}: kernel and grid of {old.config.name} cannot be changed")
        node, params, block = graph.nodes[index]
        block.set(launch.args, self._encode)
        self._driver.call("cuGraphExecKernelNodeSetParams", graph.executable, node, params)
        graph.launches[index] = launch

    def start(self, graph: Graph, stream: int) -> None:
        where = self._stream(stream)
        where.started[graph] = None
        self._driver.call("cuGraphLaunch", graph.executable, where.handle)

    def end_graph(self, graph: Graph) -> None:
        executable, handle = graph.executable, graph.handle
        graph.executable = graph.handle = None
        graph.nodes.clear()
        for stream in self._all_streams():
            stream.started.pop(graph, None)
        if executable is not None:
            self._driver.release("cuGraphExecDestroy", executable)  # takes effect once it has run
        if handle is not None:
            self._driver.release("cuGraphDestroy", handle)

    def seconds(self, graph: Graph, stream: int, repeats: int) -> float:
        """As `Launcher.seconds`, after one run to warm up.

        Runs follow each other without a pause, which the host can do every few microseconds: time kernels
        that are as short in a graph of many copies.
        """
        driver, handle = self._driver, self._stream(stream).handle
        events: list[Any] = []
        try:
            for _ in range(repeats + 1):
                events.append(driver.call("cuEventCreate", _TIMING))
            for event in events:
                self.start(graph, stream)
                driver.call("cuEventRecord", event, handle)
            self.synchronize(stream)
            times = [driver.call("cuEventElapsedTime", *pair) for pair in pairwise(events)]
            return statistics.median(times) / 1e3  # milliseconds
        finally:
            for event in events:
                driver.release("cuEventDestroy", event)

    def abandon(self, reason: str) -> None:
        """From now on every call raises DeviceError with ``reason``; what would be freed is left alone."""
        self._driver.failure = reason

    def _stream(self, stream: int) -> Stream:
        found = self._streams.get(stream)
        if found is None:
            handle = self._driver.api.CUstream(stream)
            return Stream(handle, self._others.staging, self._others.started)
        return found

    def _all_streams(self) -> list[Stream]:
        return [*self._streams.values(), self._others]

    def _running(self) -> str:
        return " or ".join(dict.fromkeys(str(g) for s in self._all_streams() for g in list(s.started)))

    def _node(self, launch: Launch) -> tuple[Any, Block]:
        config, grid = launch.config, launch.grid
        if not (0 < grid[0] < 1 << 31 and 0 < grid[1] < 1 << 16 and 0 < grid[2] < 1 << 16):
            raise DeviceError(f"{config.name}: a grid of {grid} blocks")
        block = Block(config)
        block.set(launch.args, self._encode)
        params = self._driver.api.CUDA_KERNEL_NODE_PARAMS()
        params.func = self._function(config)
        params.gridDimX, params.gridDimY, params.gridDimZ = grid
        params.blockDimX, params.blockDimY, params.blockDimZ = config.threads, 1, 1
        params.sharedMemBytes = config.smem
        params.kernelParams = block.pointers
        return params, block

    def _function(self, config: Config) -> Any:
        found = self._functions.get(config)
        if found is None:
            with self._loading:
                found = self._functions.get(config) or self._load(config)
                self._functions[config] = found
        return found

    def _load(self, config: Config) -> Any:
        kernel = cubin.load(config, self.capability)
        shared = kernel.static_smem + config.smem
        if shared > self.shared_memory:
            raise DeviceError(
                f"{config.name} needs {amount(shared)} of shared memory a block, "
                f"{self.name} has {amount(self.shared_memory)}"
            )
        with _naming(config), self._driver:
            module = self._driver.bare("cuModuleLoadData", kernel.code)
            function = self._driver.bare("cuModuleGetFunction", module, kernel.entry.encode())
            if shared > STATIC_SHARED_MEMORY:
                attribute = self._driver.api.CUfunction_attribute
                most = attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                self._driver.bare("cuFuncSetAttribute", function, most, config.smem)
        return function


@contextmanager
def _naming(config: Config) -> Iterator[None]:
    """An error says which kernel it is about."""
    try:
        yield
    except DeviceError as error:
        raise DeviceError(f"{config.name}: {error}") from error


def _as_bytes(array: np.ndarray) -> np.ndarray:
    if not array.flags.c_contiguous:
        raise DeviceError("arrays are copied as a whole: this one is not contiguous")
    return array.reshape(-1).view(np.uint8)


_lock = ForkSafeLock()
_devices: dict[int, Device] = {}
_forked = False


def open_device(index: int = 0) -> Device:
    """The device of this process for GPU ``index``, counted as CUDA_VISIBLE_DEVICES does. Thread-safe.

    Raises DeviceError where cuda-bindings, the driver or the GPU is missing or too old, and in a process
    that was forked from one that had opened a device.
    """
    with _lock:
        if _forked:
            raise DeviceError(_FORKED)
        if index not in _devices:
            api, count = driver.connect(driver.load)
            if not 0 <= index < count:
                raise DeviceError(f"there is no GPU {index}: this process sees {count}, counted from 0")
            _devices[index] = Device(api, index)
        return _devices[index]


def _after_fork() -> None:
    global _forked
    _forked = _forked or bool(_devices)
    for device in _devices.values():
        device.abandon(_FORKED)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
