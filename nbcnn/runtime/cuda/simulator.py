"""A device in host memory: plain kernels run in Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``).

Their threads take turns (`nbcnn.runtime.cuda.simulated_blocks`). About a million inner steps a second: for
tests, on tiny shapes.

Fresh memory holds 0xFF (NaN, -1). Every index that a kernel uses is checked against its array, negative ones
too, which compiled code would not notice.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda.cubin import Config
from nbcnn.runtime.cuda.launcher import Arg, Launch, Span
from nbcnn.runtime.cuda.simt import STORAGE, Simt

ALIGNMENT = 256
_NUMBERS: dict[str, Callable[[Any], Any]] = {
    **{"u16": np.uint16, "u32": np.uint32, "i32": np.int32, "i64": np.int64, "u64": np.uint64},
    "f32": np.float32,
}
_running = threading.Lock()  # Numba simulates one kernel at a time


class Array:
    """A kernel's array parameter: one dimension, every index checked."""

    __slots__ = ("_values", "shape", "size")

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.size, self.shape = values, values.size, values.shape

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.size:
            raise IndexError(f"index {index} of an array of {self.size} elements is read")
        return self._values[index]

    def __setitem__(self, index: int, value: Any) -> None:
        if not 0 <= index < self.size:
            raise IndexError(f"index {index} of an array of {self.size} elements is written")
        self._values[index] = value


@dataclass(eq=False)
class Graph:
    """Launches that run one after the other."""

    launches: list[Launch]


class Simulator:
    """`nbcnn.runtime.cuda.launcher.Launcher` on the host; ``memory`` is how many bytes it will give."""

    name = "Numba's simulator"
    capability: tuple[int, int] = (5, 2)
    multiprocessors = 1
    shared_memory = 48 << 10
    threads = 4

    def __init__(self, memory: int = 4 << 30) -> None:
        self.memory = memory
        self._blocks: dict[int, np.ndarray] = {}  # by address
        self._lock = threading.Lock()
        self._streams = itertools.count(1)

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def allocate(self, nbytes: int) -> int:
        with self._lock:
            free = self.memory - sum(block.nbytes for block in list(self._blocks.values()))
            if nbytes > free:
                raise DeviceError(f"{self.name}: {nbytes:,} bytes are asked for, {free:,} are free")
            raw = np.empty(nbytes + ALIGNMENT, np.uint8)
            start = -raw.ctypes.data % ALIGNMENT
            block = raw[start : start + nbytes]
            block[:] = 0xFF
            address = raw.ctypes.data + start
            self._blocks[address] = block
            return address

    def free(self, address: int) -> None:
        # Without the lock: a finaliser may call this wherever memory is collected, even from under the lock.
        if self._blocks.pop(address, None) is None:
            raise DeviceError(f"{self.name}: nothing is allocated at {address:#x}")

    def stream(self) -> int:
        return next(self._streams)

    def end_stream(self, stream: int) -> None:
        pass

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        self._bytes(address, array.nbytes)[:] = _as_bytes(array)

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        _as_bytes(array)[:] = self._bytes(address, array.nbytes)

    def synchronize(self, stream: int) -> None:
        pass

    def wait(self, stream: int, other: int) -> None:
        pass

    def prepare(self, config: Config) -> None:
        if not isinstance(config, Simt):
            raise DeviceError(f"{config.name}: tensor-core kernels do not run in the simulator")
        _jit(config)

    def graph(self, launches: Sequence[Launch]) -> Graph:
        for launch in launches:
            self._prepare(launch)
        return Graph(list(launches))

    def change(self, graph: Graph, index: int, launch: Launch) -> None:
        old = graph.launches[index]
        if (launch.config, launch.grid) != (old.config, old.grid):
            raise DeviceError(f"{self.name}: kernel and grid of {old.config.name} cannot be changed")
        self._prepare(launch)
        graph.launches[index] = launch

    def start(self, graph: Graph, stream: int) -> None:
        for launch in graph.launches:
            kernel, args = self._prepare(launch)
            with _running, warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # infinities and NaN are no news to a GPU
                try:
                    kernel[launch.grid, launch.config.threads](*args)
                except Exception as error:
                    raise DeviceError(f"kernel {launch.config.name}: {error}") from error

    def end_graph(self, graph: Graph) -> None:
        graph.launches.clear()

    def seconds(self, graph: Graph, stream: int, repeats: int) -> float:
        def once() -> float:
            begin = time.perf_counter()
            self.start(graph, stream)
            return time.perf_counter() - begin

        return statistics.median(once() for _ in range(repeats))

    def _prepare(self, launch: Launch) -> tuple[Any, list[Any]]:
        """The simulated kernel and its arguments; raises DeviceError for those it cannot take."""
        config = launch.config
        self.prepare(config)
        assert isinstance(config, Simt)
        if len(launch.args) != len(config.params):
            raise DeviceError(f"{config.name} takes {len(config.params)} arguments, not {len(launch.args)}")
        if min(launch.grid) < 1:
            raise DeviceError(f"{config.name}: a grid of {launch.grid} blocks")
        pairs = zip(config.params, launch.args, strict=True)
        return _jit(config), [self._argument(config.name, *param, arg) for param, arg in pairs]

    def _argument(self, kernel: str, name: str, code: str, arg: Arg) -> Any:
        array = code.endswith("[]")
        if isinstance(arg, Span) != array or (not array and not isinstance(arg, (int, float, np.number))):
            raise DeviceError(f"{kernel}: {name} is {code}, and cannot be {arg!r}")
        if not isinstance(arg, Span):
            try:
                return _NUMBERS[code](arg)
            except OverflowError as error:
                raise DeviceError(f"{kernel}: {name} = {arg} does not fit {code}") from error
        dtype = np.dtype(STORAGE[code[:-2]])
        if arg.address % dtype.itemsize:
            raise DeviceError(f"{kernel}: {name} begins at {arg.address:#x}, not at a whole {dtype}")
        whole = self._bytes(arg.address, arg.nbytes // dtype.itemsize * dtype.itemsize)
        return Array(whole.view(dtype))

    def _bytes(self, address: int, nbytes: int) -> np.ndarray:
        """The memory from ``address`` on; raises DeviceError unless one allocation holds it."""
        with self._lock:
            starts = sorted(self._blocks)
            at = bisect_right(starts, address) - 1
            block = self._blocks[starts[at]] if at >= 0 else np.empty(0, np.uint8)
            offset = address - starts[at] if at >= 0 else 0
            if at < 0 or offset + nbytes > block.nbytes:
                raise DeviceError(f"{self.name}: {nbytes:,} bytes at {address:#x} are not in one allocation")
            return block[offset : offset + nbytes]


@cache
def open_device() -> Simulator:
    """The simulator of this process; raises DeviceError if Numba was imported for a GPU."""
    from numba import config

    if not getattr(config, "ENABLE_CUDASIM", False):
        raise DeviceError("the simulator needs NUMBA_ENABLE_CUDASIM=1 before numba is imported")
    return Simulator()


@cache
def _jit(config: Simt) -> Any:
    from numba import cuda

    _simulate_blocks()
    return cuda.jit(config.make())


@cache
def _simulate_blocks() -> None:
    from nbcnn.runtime.cuda import simulated_blocks

    simulated_blocks.install()


def _as_bytes(array: np.ndarray) -> np.ndarray:
    if not array.flags.c_contiguous:
        raise DeviceError("arrays are copied as a whole: this one is not contiguous")
    return array.reshape(-1).view(np.uint8)
