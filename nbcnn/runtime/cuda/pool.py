"""Device memory that is used again: outputs come and go with every call, and the driver is slow to give it.

What is freed may still be in use, by work that was asked for before; so the device is waited for when it is
given to somebody else, not when it is freed. Neither freeing nor the garbage collector ever waits.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda.driver import Driver
from nbcnn.runtime.cuda.results import OUT_OF_MEMORY, amount

GRAIN = 512
"""Bytes: sizes are rounded up to multiples."""

LARGEST = 64 << 20
"""Bytes: longer stretches go back to the driver at once."""


class Pool:
    """Memory of one device. Safe from any thread."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._lock = threading.Lock()
        self._sizes: dict[int, int] = {}  # of all that was given out, by address
        self._freed: deque[tuple[int, int]] = deque()  # not sorted in yet: appended to without the lock
        self._idle: defaultdict[int, list[int]] = defaultdict(list)  # by size

    def allocate(self, nbytes: int) -> int:
        """Uninitialised memory; raises DeviceError where there is too little, idle memory given back."""
        size = max(-(-nbytes // GRAIN), 1) * GRAIN
        with self._driver, self._lock:
            self._sort_in()
            if self._idle[size]:
                self._driver.bare("cuCtxSynchronize")  # whoever had it may have work under way
                address = self._idle[size].pop()
            else:
                address = self._new(size, nbytes)
            self._sizes[address] = size
            return address

    def free(self, address: int) -> None:
        """Give memory back; raises DeviceError for what was not given out, or given back before."""
        size = self._sizes.pop(address, None)
        if size is None:
            raise DeviceError(f"{self._driver.label}: there is no memory of this device's at {address:#x}")
        if size > LARGEST:
            self._driver.release("cuCtxSynchronize")
            self._driver.release("cuMemFree", address)
        else:
            self._freed.append((size, address))

    def _sort_in(self) -> None:
        while self._freed:
            size, address = self._freed.popleft()
            self._idle[size].append(address)

    def _new(self, size: int, asked: int) -> int:
        result = self._driver.api.cuMemAlloc(size)
        if result[0] == OUT_OF_MEMORY and any(self._idle.values()):
            self._driver.bare("cuCtxSynchronize")
            for addresses in self._idle.values():
                while addresses:
                    self._driver.bare("cuMemFree", addresses.pop())
            result = self._driver.api.cuMemAlloc(size)
        if result[0] == OUT_OF_MEMORY:
            free, total = self._driver.bare("cuMemGetInfo")
            raise DeviceError(
                f"{self._driver.label}: {amount(asked)} of memory are asked for, {amount(free)} of "
                f"{amount(total)} are free; use a smaller batch, or end what else uses this GPU"
            )
        return int(self._driver.check("cuMemAlloc", result))
