"""One block at a time: each warp is a thread of Python that runs until it must wait; only one runs at once.

What real hardware does at a time of its own choosing, the machine does as early as it may (``eager``) or
as late as it may: cp.async and wgmma when the warp waits for them, TMA when every warp is stuck. A
kernel that reads too soon shows when they come late, one that overwrites too soon when a wgmma is late
and the copies early.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .memory import Device, Memory

SHARED_BASE = 1024


class Deadlock(AssertionError):
    """No warp can go on and nothing is in flight."""


class _Ended(BaseException):
    """Thrown into the warps that are left when a block fails."""


@dataclass(frozen=True)
class Timing:
    """When asynchronous work happens, and the order of warps (``seed`` None: ascending)."""

    eager_copies: bool = True
    eager_products: bool = True
    seed: int | None = None


@dataclass
class MBarrier:
    count: int
    pending: int
    bytes: int = 0
    phase: int = 0

    def settle(self) -> None:
        if self.pending == 0 and self.bytes == 0:
            self.phase ^= 1
            self.pending = self.count


@dataclass
class Warp:
    """What belongs to one warp; ``waiting`` tells the scheduler when it may go on."""

    block: Block
    index: int
    waiting: Callable[[], bool] | None = None
    copies: list[Any] = field(default_factory=list)  # cp.async not committed
    copy_groups: list[list[Any]] = field(default_factory=list)
    products: list[Callable[[], None]] = field(default_factory=list)  # wgmma not committed
    product_groups: list[list[Callable[[], None]]] = field(default_factory=list)
    sums: dict[int, np.ndarray] = field(default_factory=dict)  # wgmma accumulators by tile
    fenced: bool = False

    def wait(self, ready: Callable[[], bool] = lambda: True) -> None:
        """Let others run, then go on once ``ready()``."""
        self.waiting = ready
        self.block.switch(self)
        self.waiting = None


class Block:
    """The warps of one block, their shared memory and barriers."""

    def __init__(
        self,
        device: Device,
        grid: tuple[int, ...],
        at: tuple[int, ...],
        threads: int,
        smem: int,
        timing: Timing,
    ):
        self.device, self.grid, self.at, self.timing = device, grid, at, timing
        self.shared = Memory(SHARED_BASE, max(smem, 16), owned=True)
        self.warps = [Warp(self, i) for i in range(threads // 32)]
        self.barriers: dict[int, list[int]] = {}  # number -> [arrived, generation]
        self.mbarriers: dict[int, MBarrier] = {}
        self.in_flight: list[Callable[[], None]] = []  # TMA
        self._random = random.Random(timing.seed)
        self._go = [threading.Semaphore(0) for _ in self.warps]
        self._back = threading.Semaphore(0)
        self._error: BaseException | None = None
        self._ended = False
        self._alive = set(range(len(self.warps)))

    def run(self, kernel: Callable, args: tuple) -> None:
        threads = [
            threading.Thread(target=self._body, args=(w, kernel, args), daemon=True) for w in self.warps
        ]
        for thread in threads:
            thread.start()
        try:
            while self._alive and self._error is None:
                self._round()
        finally:
            self._ended = True
            for i in list(self._alive):
                self._resume(i)
        if self._error:
            raise self._error
        if self.in_flight:
            raise Deadlock("the block ended with copies in flight")

    def _round(self) -> None:
        order = sorted(self._alive)
        if self.timing.seed is not None:
            self._random.shuffle(order)
        ran = False
        for i in order:
            ready = self.warps[i].waiting
            if self._error is None and (ready is None or ready()):
                self._resume(i)
                ran = True
        if not ran:
            if not self.in_flight:
                raise Deadlock(f"block {self.at}: warps {order} wait for ever")
            self.in_flight.pop(0)()

    def _resume(self, i: int) -> None:
        global current
        current = self.warps[i]
        self._go[i].release()
        self._back.acquire()

    def switch(self, warp: Warp) -> None:
        self._back.release()
        self._go[warp.index].acquire()
        if self._ended:
            raise _Ended

    def _body(self, warp: Warp, kernel: Callable, args: tuple) -> None:
        self._go[warp.index].acquire()
        try:
            if not self._ended:
                with np.errstate(all="ignore"):
                    kernel(*args)
                if warp.products or warp.product_groups:
                    raise AssertionError("a warp ended before it waited for its wgmmas")
        except _Ended:
            pass
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._alive.discard(warp.index)
            self._back.release()

    def barrier(self, warp: Warp, number: int, warps: int) -> None:
        """Wait until ``warps`` of them have come to barrier ``number``."""
        state = self.barriers.setdefault(number, [0, 0])
        generation = state[1]
        state[0] += 1
        if state[0] == warps:
            state[:] = 0, generation + 1
            warp.wait()
        else:
            warp.wait(lambda: state[1] != generation)


current: Warp = None  # type: ignore[assignment]


def warp() -> Warp:
    """The warp that runs now."""
    return current
