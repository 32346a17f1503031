"""A GPU in host memory: plain kernels in Numba's simulator, tensor-core kernels in the emulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbcnn.runtime.cuda.launcher import Launch
from nbcnn.runtime.cuda.simt import Simt
from nbcnn.runtime.cuda.simulator import Simulator

from .memory import BadAccess
from .run import run

Config = Any


class Emulated(Simulator):
    """The simulator as a device of any compute capability, which has tensor cores from 8.0 on."""

    name = "emulated GPU"
    multiprocessors = 2
    shared_memory = 227 << 10

    def __init__(self, capability: tuple[int, int]) -> None:
        super().__init__()
        self.capability = capability
        self.ran: list[str] = []
        """Names of the tensor-core kernels that were started."""

    def prepare(self, config: Config) -> None:
        if isinstance(config, Simt):
            super().prepare(config)
        assert config.runs_on(self.capability), config.name

    def _prepare(self, launch: Launch) -> tuple[Any, Any]:
        if isinstance(launch.config, Simt):
            return super()._prepare(launch)
        self.prepare(launch.config)
        assert len(launch.args) == len(launch.config.params) and min(launch.grid) > 0
        return {(launch.grid, launch.config.threads): lambda: self._emulate(launch)}, ()

    def _emulate(self, launch: Launch) -> None:
        self.ran.append(launch.config.name)
        run(_Memory(self._blocks), launch)


class _Memory:
    """The simulator's allocations as the emulator reads and writes them: every access is checked."""

    def __init__(self, blocks: dict[int, np.ndarray]) -> None:
        self._starts = np.array(sorted(blocks), np.int64)
        self._blocks = [blocks[start] for start in self._starts]

    def read(self, address: np.ndarray, words: int) -> np.ndarray:
        """[lanes, words] of uint32."""
        out = np.empty((len(address), 4 * words), np.uint8)
        for lanes, block, places in self._parts(address, 4 * words):
            out[lanes] = block[places]
        return out.view(np.uint32)

    def write(self, address: np.ndarray, words: np.ndarray) -> None:
        data = np.ascontiguousarray(words).view(np.uint8)
        for lanes, block, places in self._parts(address, data.shape[1]):
            block[places] = data[lanes]

    def _parts(self, address: np.ndarray, size: int):
        """Lanes by the allocation that they touch, and the bytes there."""
        address = address.astype(np.int64)
        if (address % size).any():
            raise BadAccess(f"misaligned access of {size} bytes")
        which = np.searchsorted(self._starts, address, "right") - 1
        for index in np.unique(which):
            lanes = which == index
            places = (address[lanes] - self._starts[index])[:, None] + np.arange(size)
            if index < 0 or places.max() >= len(self._blocks[index]):
                raise BadAccess("access outside any allocation")
            yield lanes, self._blocks[index], places
