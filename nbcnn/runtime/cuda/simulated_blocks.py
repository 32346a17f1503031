"""Blocks of threads in Numba's simulator, one thread at a time: quicker, and the same in every run.

Numba starts all threads of a block at once and polls them. Here a thread runs to its next barrier, then the
next one: a reader that does not wait for its writer finds poison, a writer that does not wait for readers
spoils what they read. Shared memory is poisoned anew for each block.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import types
from numba.core.types import Type
from numba.cuda.simulator import kernel
from numba.cuda.simulator.kernelapi import FakeCUDAShared
from numba.np.numpy_support import as_dtype


def install() -> None:
    """Change Numba's simulator for this process."""
    for place, name, function in (
        (kernel.BlockManager, "run", _run_block),
        (kernel.FakeCUDAKernel, "__call__", _call),
        (FakeCUDAShared, "array", _shared_array),
        (Type, "__call__", _convert),
    ):
        setattr(place, name, function)


class _Thread(kernel.BlockThread):
    """A thread of a block, which runs when it has the ``turn`` and hands it ``back`` at a barrier."""

    def __init__(self, function: Callable[[], None], manager: Any, block: Any, thread: Any) -> None:
        super().__init__(function, manager, block, thread, False)
        self.turn, self.back = threading.Lock(), threading.Lock()
        self.turn.acquire()
        self.back.acquire()
        self.finished = False

    def run(self) -> None:
        self.turn.acquire()
        super().run()
        self.finished = True
        self.back.release()

    def syncthreads(self) -> None:
        self.back.release()
        self.turn.acquire()
        if self.abort:
            raise RuntimeError("another thread of the block failed")

    def go_on(self) -> None:
        """Run to the next barrier, or to the end."""
        self.turn.release()
        self.back.acquire()


def _run_block(self: Any, block: Any, *args: Any) -> None:
    """In place of ``BlockManager.run``."""
    context: Any = kernel._get_kernel_context()
    context.shared._allocations.clear()
    places = np.ndindex(*self._block_dim)
    threads = live = [_Thread(lambda: self._f(*args), self, block, place) for place in places]
    for thread in threads:
        thread.start()
    while live:
        for thread in live:
            thread.go_on()
            if thread.exception:
                for other in threads:
                    other.abort = True
                for other in threads:
                    if not other.finished:
                        other.go_on()
                error, trace = thread.exception
                raise error.with_traceback(trace)
        live = [thread for thread in live if not thread.finished]


_call_kernel = kernel.FakeCUDAKernel.__call__


def _call(self: Any, *args: Any) -> Any:
    """In place of ``FakeCUDAKernel.__call__``: a device function without ``cuda.`` is a Python function."""
    if self._device and "cuda" not in self.fn.__code__.co_names:
        return self.fn(*args)
    return _call_kernel(self, *args)


_NUMBERS = {bool, int, float, *np.sctypeDict.values()}
_MADE = {id(t): as_dtype(t).type for t in (*types.integer_domain, *types.real_domain)}
_convert_any = Type.__call__


def _convert(self: Any, *args: Any) -> Any:
    """In place of ``Type.__call__``: ``int32(x)`` of a number without the search for what ``x`` is."""
    made = _MADE.get(id(self))
    if made is None or len(args) != 1 or type(args[0]) not in _NUMBERS:
        return _convert_any(self, *args)
    return args[0] if type(args[0]) is made else made(args[0])


def _shared_array(self: Any, shape: Any, dtype: Any, alignment: int | None = None) -> np.ndarray:
    """In place of ``FakeCUDAShared.array``: one array for each line that asks, aligned or not."""
    caller = sys._getframe(1)
    place = caller.f_code.co_filename, caller.f_lineno
    if place not in self._allocations:
        found = np.empty(shape, as_dtype(dtype) if isinstance(dtype, Type) else dtype)
        found.view(np.uint8)[...] = 0xFF
        self._allocations[place] = found
    return self._allocations[place]
