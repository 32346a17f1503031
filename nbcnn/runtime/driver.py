"""Runs a step table: rows of (kernel address, address of its int64 argument block)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import numpy as np

from nbcnn.runtime import codecache, threads
from nbcnn.runtime.codecache import KernelSpec
from nbcnn.target import detect

_WALK = KernelSpec("nbcnn.runtime.walk_code:make", (), "walk_steps")
_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_ssize_t)


def run(table: np.ndarray, parts: int) -> None:
    """Walk ``table`` (C-contiguous int64[n, 2]) with ``parts`` threads; the GIL is released.

    A step's parts all end before the next step begins. One part runs in the calling thread and
    needs no Numba. The caller keeps the table and all it points to alive.
    """
    if table.dtype != np.int64 or table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(f"a step table is int64[n, 2], not {table.dtype}{list(table.shape)}")
    if not table.flags.c_contiguous:
        raise ValueError("a step table must be C-contiguous")
    address, steps = table.__array_interface__["data"][0], table.shape[0]
    if parts == 1:
        _serial()(address, steps, 1)
    else:
        with threads.team(parts):
            _parallel()(address, steps, parts)


@cache
def _serial() -> Callable[[int, int, int], None]:
    return _SIGNATURE(codecache.load(_WALK, detect()))


@cache
def _parallel() -> Callable[[int, int, int], None]:
    from nbcnn.runtime import walk_parallel  # imports Numba

    return walk_parallel.walk
