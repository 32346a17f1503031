"""Uploads by way of page-locked memory: the array is free again at once, the copy goes on behind it.

A copy out of ordinary memory is staged by the driver in the same manner, but not if the array happens to be
page-locked or shared with the GPU: then it would be read later, when it may hold something else.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

from nbcnn.runtime.cuda.driver import Driver

SLOT_BYTES = 1 << 20
"""Bytes staged at a time: 20 us on the bus, a tenth of what the host takes to write them."""
SLOTS = 4
_PORTABLE, _NO_TIMING = 1, 2


class Staging:
    """The slots of one stream, made when first needed."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._lock = threading.Lock()
        self._slots: list[tuple[int, np.ndarray, Any]] = []  # address, its bytes, event of the last copy
        self._next = 0

    def upload(self, address: int, source: np.ndarray, stream: Any) -> None:
        """Copy the bytes ``source`` (uint8, one dimension); waits only where all slots are in use."""
        with self._driver, self._lock:  # in this order: a forked child is refused, and never waits
            for start in range(0, source.size, SLOT_BYTES):
                part = source[start : start + SLOT_BYTES]
                place, memory, done = self._slot()
                memory[: part.size] = part
                self._driver.bare("cuMemcpyHtoDAsync", address + start, place, part.size, stream)
                self._driver.bare("cuEventRecord", done, stream)

    def close(self) -> None:
        """Give the slots back; no copy may be under way."""
        if self._driver.failure:
            return
        with self._lock:
            while self._slots:
                place, _, done = self._slots.pop()
                self._driver.release("cuEventDestroy", done)
                self._driver.release("cuMemFreeHost", place)

    def _slot(self) -> tuple[int, np.ndarray, Any]:
        """The slot that was used longest ago, once its copy is done."""
        if len(self._slots) < SLOTS:
            place = self._driver.bare("cuMemHostAlloc", SLOT_BYTES, _PORTABLE)
            memory = np.ctypeslib.as_array((ctypes.c_uint8 * SLOT_BYTES).from_address(place))
            self._slots.append((place, memory, self._driver.bare("cuEventCreate", _NO_TIMING)))
            return self._slots[-1]
        slot = self._slots[self._next]
        self._next = (self._next + 1) % SLOTS
        self._driver.bare("cuEventSynchronize", slot[2])
        return slot
