"""Running plain kernels on NumPy arrays: on a GPU, or in the simulator where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from nbcnn.runtime.cuda.launcher import Launch, Launcher, Span, open_device, simulated
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.target import CudaTarget

KINDS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
"""Types of images in memory -> a precision that has them."""


@cache
def device() -> Launcher:
    return open_device()


def target(kind: str = "f32") -> CudaTarget:
    """What records are told of this device, for images of ``kind``; 4 threads a block in the simulator."""
    here = device()
    threads = 4 if simulated() else 256
    about = (here.name, here.capability, here.multiprocessors, here.shared_memory)
    return CudaTarget(*about, threads, KINDS[kind])


def run(kernel: Simt, grid: int | tuple[int, int, int], *args: np.ndarray | int | float) -> None:
    """Launch ``kernel``: arrays are copied there and, with what was written, back.

    In the simulator an index outside of an array, or below 0, raises DeviceError.
    """
    run_all([(kernel, grid, args)])


def run_all(launches: Sequence[tuple[Simt, int | tuple[int, int, int], Sequence]]) -> None:
    """Several launches in order, each a kernel, its grid and its arguments; an array may occur in several."""
    here = device()
    arrays = {id(a): a for _, _, args in launches for a in args if isinstance(a, np.ndarray)}
    places = {key: here.allocate(max(array.nbytes, 1)) for key, array in arrays.items()}
    stream = here.stream()
    try:
        for key, array in arrays.items():
            here.upload(places[key], array, stream)
        graph = here.graph(
            [
                Launch(
                    kernel,
                    (grid, 1, 1) if isinstance(grid, int) else grid,
                    tuple(Span(places[id(a)], a.nbytes) if isinstance(a, np.ndarray) else a for a in args),
                )
                for kernel, grid, args in launches
            ]
        )
        here.start(graph, stream)
        for key, array in arrays.items():
            here.download(array, places[key], stream)
        here.synchronize(stream)
        here.end_graph(graph)
    finally:
        for address in places.values():
            here.free(address)
        here.end_stream(stream)
