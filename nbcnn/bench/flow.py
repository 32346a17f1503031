"""The calls that a worker times: one after the other, or several requests in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any, NamedTuple

MIN_CALLS = 3
"""In each stream at least, so that a median means something with a slow model."""

REWARM_CALLS = 2
"""Unmeasured calls in each stream before the others: other engines have used the caches meanwhile."""


class Flow(NamedTuple):
    """Of many calls the latency of each, and the time from one answer to the next; in nanoseconds."""

    latencies: list[int]
    period: float


def alone(run: Callable[[], Any], seconds: float) -> Flow:
    """One call after the other for ``seconds``; their period is the median latency."""
    latencies, _ = _calls(run, seconds)
    return Flow(latencies, median(latencies))


def in_threads(run: Callable[[], Any], count: int, seconds: float) -> Flow:
    """``alone`` in ``count`` threads at a time."""
    with ThreadPoolExecutor(count) as pool:
        streams = list(pool.map(_calls, [run] * count, [seconds] * count))
    return of([n for latencies, _ in streams for n in latencies], [n for _, ends in streams for n in ends])


def of(latencies: list[int], ends: Sequence[int]) -> Flow:
    """The flow of calls that ended at these times, in any order: its period is their mean distance."""
    return Flow(latencies, (max(ends) - min(ends)) / (len(ends) - 1))


def _calls(run: Callable[[], Any], seconds: float) -> tuple[list[int], list[int]]:
    """Latencies and ends."""
    for _ in range(REWARM_CALLS):
        run()
    clock, latencies, ends = time.perf_counter_ns, [], []
    start = clock()
    finish = start + int(seconds * 1e9)
    while start < finish or len(ends) < MIN_CALLS:
        run()
        ends.append(clock())
        latencies.append(ends[-1] - start)
        start = ends[-1]
    return latencies, ends
