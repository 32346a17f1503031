"""Runs a step table: rows of (kernel address, address of its int64 argument block)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from nbcnn.runtime import team

Walk = Callable[[int, int, int], None]
"""What walks the steps at an address, so many, with so many parts: `walk`, or the `run` of a team."""


def run(table: np.ndarray, parts: int) -> None:
    """Walk ``table`` (C-contiguous int64[n, 2]) with up to ``parts`` threads, without the GIL.

    Every step is divided into ``parts`` shares, all of which end before the next step begins; on
    a machine of fewer cores, threads take several. One part runs in the calling thread alone.
    The caller keeps the table and all it points to alive. Raises ValueError for a wrong table.
    """
    if table.dtype != np.int64 or table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(f"a step table is int64[n, 2], not {table.dtype}{list(table.shape)}")
    if not table.flags.c_contiguous:
        raise ValueError("a step table must be C-contiguous")
    if parts < 1:
        raise ValueError(f"parts must be positive, not {parts}")
    walk(table.__array_interface__["data"][0], table.shape[0], parts)


def walk(address: int, steps: int, parts: int) -> None:
    """`run` for the ``steps`` rows that begin at ``address``, unchecked: what a program calls."""
    if parts == 1:
        _serial()(address, steps, 1)
    else:
        team.shared().run(address, steps, parts)


@cache
def _serial() -> Callable[[int, int, int], None]:
    return team.native("walk_code", "walk")
