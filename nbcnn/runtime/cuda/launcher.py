"""What a device is to the rest of nbcnn: memory, streams, and graphs of kernel launches.

`nbcnn.runtime.cuda.device` is a GPU behind its driver, `nbcnn.runtime.cuda.simulator` runs the same calls in
host memory. Addresses, streams and graphs are numbers or objects of the launcher that gave them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nbcnn.runtime.cuda.cubin import Config
from nbcnn.runtime.cuda.maps import Im2col, Tiled


@dataclass(frozen=True)
class Span:
    """An array argument: where it begins, and how many bytes from there on belong to it."""

    address: int
    nbytes: int


Arg = int | float | Span | Tiled | Im2col
"""An argument: an address (u64) or number, an array (codes that end in ``[]``), a tensor map."""


@dataclass(frozen=True)
class Launch:
    """One kernel, its grid, and its arguments in the order of ``config.params``."""

    config: Config
    grid: tuple[int, int, int]
    args: tuple[Arg, ...]


class Launcher(Protocol):
    """One device. Its methods may be called from any thread; they raise DeviceError for what it refuses.

    ``memory`` is in bytes; ``shared_memory`` is what one block may ask for, in bytes, ``threads`` how many it
    should have at most if it goes element by element (few where threads are dear: in the simulator).
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    memory: int
    shared_memory: int
    threads: int

    def session(self) -> AbstractContextManager[None]:
        """Calls of one thread inside belong together, and cost a little less."""
        ...

    def allocate(self, nbytes: int) -> int:
        """Uninitialised memory at a multiple of 256; raises DeviceError, which tells what is free."""
        ...

    def free(self, address: int) -> None:
        """Give memory back; nobody gets it before all work that was asked for so far is done."""
        ...

    def stream(self) -> int:
        """A stream: what is asked of it happens in order, beside other streams."""
        ...

    def end_stream(self, stream: int) -> None: ...

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        """Copy a contiguous array to the device; the array may be changed once this returns."""
        ...

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        """Copy into a contiguous array; it is complete after `synchronize`."""
        ...

    def synchronize(self, stream: int) -> None:
        """Wait until all that was asked of ``stream`` is done; raises DeviceError for what failed there."""
        ...

    def wait(self, stream: int, other: int) -> None:
        """What is asked of ``stream`` from now on waits for what ``other`` was asked so far."""
        ...

    def prepare(self, config: Config) -> None:
        """Load a kernel, built first if it is not kept; `graph` does so too, but this may be long."""
        ...

    def graph(self, launches: Sequence[Launch]) -> Any:
        """The launches, one after the other, made ready to be started with one call; loads their kernels."""
        ...

    def change(self, graph: Any, index: int, launch: Launch) -> None:
        """Other arguments for launch ``index`` of the graph: same kernel, same grid."""
        ...

    def start(self, graph: Any, stream: int) -> None:
        """Ask ``stream`` to run the graph; one graph runs once at a time."""
        ...

    def end_graph(self, graph: Any) -> None: ...

    def seconds(self, graph: Any, stream: int, repeats: int) -> float:
        """Seconds of one run on the device, the median of ``repeats`` by its own clock."""
        ...


def simulated() -> bool:
    """Whether Numba's simulator was asked for, by Numba's own variable ``NUMBA_ENABLE_CUDASIM``."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def open_device(index: int = 0) -> Launcher:
    """The device ``index``, or the simulator where that is asked for.

    Raises DeviceError where there is no GPU, no driver, or where the extra ``nbcnn[cuda]`` is missing.
    """
    if simulated():
        from nbcnn.runtime.cuda import simulator

        return simulator.open_device()
    from nbcnn.runtime.cuda import device

    return device.open_device(index)
