"""A team of threads that walks step tables together: no Numba, no OpenMP, nothing of the host's.

Workers are Python threads that stay in native code without the GIL; between runs they spin for a
moment, then sleep on a lock. A fork leaves them behind: the child starts a team of its own.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable

import numpy as np

from nbcnn.options import MOST_THREADS
from nbcnn.runtime import codecache
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import detect

_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_ssize_t)
_IDLE = 5000  # pauses, some 0.1-0.3 ms: a serving loop stays awake, an idle program sleeps


def native(module: str, name: str) -> Callable[[int, int, int], None]:
    """A function of nbcnn.runtime's own kernel modules; calls release the GIL."""
    spec = KernelSpec(f"nbcnn.runtime.{module}:make_{name}", (), f"{module}_{name}")
    return _SIGNATURE(codecache.load(spec, detect()))


class Team:
    """A leader, whoever calls `run`, and workers, which are started as runs ask for them and kept."""

    def __init__(self) -> None:
        self._lead = native("team_code", "lead")
        self._attend = native("team_code", "attend")
        self._memory = np.zeros((MOST_THREADS + 2) * 16 + 16, np.int64)
        address = self._memory.ctypes.data
        self._block = address + -address % 128
        self._most = (os.cpu_count() or 1) - 1  # workers; asking costs 15 us, twice the call of a small model
        self._workers: list[threading.Thread] = []
        self._bells: list[threading.Lock] = []  # one per worker, held while it may sleep
        self._asleep: set[int] = set()
        self._running = self._closing = False
        self._region = threading.Lock()

    def run(self, table: int, steps: int, parts: int) -> None:
        """Walk the table at this address. Concurrent callers queue: two teams would only fight."""
        if parts > MOST_THREADS:
            raise ValueError(f"at most {MOST_THREADS} parts, not {parts}")
        with self._region:
            while len(self._bells) < min(parts - 1, self._most):
                self._start()
            self._running = True  # from here on workers stay awake
            try:
                while self._asleep:
                    self._bells[self._asleep.pop()].release()
                self._lead(self._block, table, steps << 16 | parts)
            finally:
                self._running = False

    def close(self) -> None:
        """End the workers, after the run under way; a later run starts new ones."""
        with self._region:
            self._closing = True
            for bell in self._bells:
                if bell.locked():  # else it has rung, and its worker is about to wake
                    bell.release()
            for worker in self._workers:
                worker.join()
            self._bells, self._workers, self._asleep, self._closing = [], [], set(), False

    def _start(self) -> None:
        bell = threading.Lock()
        bell.acquire()
        index = len(self._bells)
        worker = threading.Thread(
            target=self._serve, args=(index, bell), name=f"nbcnn-{index + 1}", daemon=True
        )
        self._bells.append(bell)
        self._workers.append(worker)
        worker.start()

    def _serve(self, index: int, bell: threading.Lock) -> None:
        while not self._closing:
            self._attend(self._block, index + 1, _IDLE)
            if not self._running:
                self._asleep.add(index)
                bell.acquire()


_team: Team | None = None
_creation = threading.Lock()


def shared() -> Team:
    """The process's team."""
    global _team
    if _team is None:
        with _creation:
            _team = _team or Team()
    return _team


def _after_fork() -> None:
    global _team, _creation
    _team, _creation = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
