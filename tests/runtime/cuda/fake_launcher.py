"""A device of host memory that runs kernels which are Python functions, and counts what is asked of it."""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda.launcher import Launch, Span


@dataclass(frozen=True)
class Function:
    """A kernel: ``function`` of float32 arrays and numbers."""

    name: str
    function: Callable[..., None]
    params: tuple[tuple[str, str], ...]
    factory: str = ""
    threads: int = 32
    blocks: int = 1
    smem: int = 0

    def runs_on(self, capability: tuple[int, int]) -> bool:
        return True


class FakeLauncher:
    """``calls`` counts methods, ``alive`` is what was allocated and not freed, by address."""

    name = "fake"
    multiprocessors = 4
    shared_memory = 48 << 10
    threads = 32

    def __init__(self, memory: int = 1 << 24, capability: tuple[int, int] = (9, 0)) -> None:
        self.memory, self.capability = memory, capability
        self.calls: Counter[str] = Counter()
        self.alive: dict[int, np.ndarray] = {}
        self.streams: set[int] = {1, 2}  # the default streams
        self.graphs: set[int] = set()
        self.waits: list[tuple[int, int]] = []
        self._numbers = iter(range(100, 1 << 30))
        self._lock = threading.Lock()

    def session(self) -> AbstractContextManager[None]:
        return nullcontext()

    def allocate(self, nbytes: int) -> int:
        with self._lock:
            self.calls["allocate"] += 1
            free = self.memory - sum(a.nbytes for a in self.alive.values())
            if nbytes > free:
                raise DeviceError(f"{nbytes:,} bytes asked, {free:,} of {self.memory:,} free on {self.name}")
            block = np.full(nbytes, 0xFF, np.uint8)
            self.alive[block.ctypes.data] = block
            return block.ctypes.data

    def free(self, address: int) -> None:
        with self._lock:
            del self.alive[address]

    def stream(self) -> int:
        with self._lock:
            self.streams.add(found := next(self._numbers))
        return found

    def end_stream(self, stream: int) -> None:
        self.streams.remove(stream)

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        assert stream in self.streams and array.flags.c_contiguous
        self.calls["upload"] += 1
        self._bytes(address, array.nbytes)[:] = array.reshape(-1).view(np.uint8)

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        assert stream in self.streams
        self.calls["download"] += 1
        array.reshape(-1).view(np.uint8)[:] = self._bytes(address, array.nbytes)

    def synchronize(self, stream: int) -> None:
        assert stream in self.streams
        self.calls["synchronize"] += 1

    def wait(self, stream: int, other: int) -> None:
        assert {stream, other} <= self.streams
        self.waits.append((stream, other))

    def prepare(self, config: Any) -> None:
        self.calls["prepare"] += 1

    def graph(self, launches: Sequence[Launch]) -> list[Launch]:
        self.calls["graph"] += 1
        found = list(launches)
        self.graphs.add(id(found))
        return found

    def change(self, graph: list[Launch], index: int, launch: Launch) -> None:
        self.calls["change"] += 1
        assert (graph[index].config, graph[index].grid) == (launch.config, launch.grid)
        graph[index] = launch

    def start(self, graph: list[Launch], stream: int) -> None:
        assert stream in self.streams and id(graph) in self.graphs
        self.calls["start"] += 1
        for launch in graph:
            args = [
                self._bytes(a.address, a.nbytes // 4 * 4).view(np.float32) if isinstance(a, Span) else a
                for a in launch.args
            ]
            launch.config.function(*args)  # type: ignore[attr-defined]

    def end_graph(self, graph: list[Launch]) -> None:
        self.graphs.remove(id(graph))

    def seconds(self, graph: list[Launch], stream: int, repeats: int) -> float:
        self.start(graph, stream)
        return 1e-6

    def _bytes(self, address: int, nbytes: int) -> np.ndarray:
        """Memory from ``address`` on, which must belong to one allocation, or to an array of a test's own."""
        for start, block in self.alive.items():
            if start <= address < start + block.nbytes:
                offset = address - start
                assert offset + nbytes <= block.nbytes, "beyond the end of an allocation"
                return block[offset : offset + nbytes]
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))
