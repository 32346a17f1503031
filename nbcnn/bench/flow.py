"""The calls that a worker times: one after the other, or several requests in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
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
        return together(pool.map(_calls, [run] * count, [seconds] * count))


def together(streams: Iterable[tuple[list[int], int]]) -> Flow:
    """The flow of streams at the same time: of each its latencies, and the time that it took for all."""
    latencies, rate = [], 0.0
    for calls, took in streams:
        latencies += calls
        rate += len(calls) / took
    return Flow(latencies, 1 / rate)


def _calls(run: Callable[[], Any], seconds: float) -> tuple[list[int], int]:
    """The latencies, and their sum."""
    for _ in range(REWARM_CALLS):
        run()
    clock, latencies = time.perf_counter_ns, []
    first = start = clock()
    finish = start + int(seconds * 1e9)
    while start < finish or len(latencies) < MIN_CALLS:
        run()
        end = clock()
        latencies.append(end - start)
        start = end
    return latencies, start - first
