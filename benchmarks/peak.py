"""What one core can do at most: multiply-adds of whole vectors and nothing else; reads of a level of memory.

    python benchmarks/peak.py

The best of many short runs counts. What is read is summed, vector by vector, over and over: a buffer of half
L2 or a quarter of L3, which others share, stays there; one of four times L3 stays in neither.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from nbcnn.kernels.cpu.code import emit
from nbcnn.kernels.cpu.code.emit import i64
from nbcnn.target import detect

CHAINS = 24
"""Independent sums: more than the latency of a multiply-add times how many begin in a cycle."""


@intrinsic(prefer_literal=True)
def _multiply_add(tc, count, lanes):
    wide = lanes.literal_value

    def emit_chains(context: Any, bd: Any, sig: Any, args: Any) -> Any:
        factor = emit.splat(bd, emit.F32(0.9999), wide)
        sums = [emit.splat(bd, emit.F32(float(i)), wide).v for i in range(CHAINS)]

        def body(index: Any, carried: list[Any]) -> list[Any]:
            return [emit.fma(emit.V(bd, x), factor, factor).v for x in carried]

        sums = emit.loop(bd, i64(0), args[0], 1, sums, body)
        total = emit.V(bd, sums[0])
        for x in sums[1:]:
            total = total + emit.V(bd, x)
        return emit.sum_lanes(total)

    return types.float32(types.intp, lanes), emit_chains


def gflops(seconds: float = 0.5) -> float:
    """The most GFLOP/s of float32 that one core was seen to do within ``seconds``."""
    lanes = detect().lanes

    @numba.njit(nogil=True)
    def run(count):
        return _multiply_add(count, lanes)

    run(1)
    count, best, end = 100_000, 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run(count)
        best = max(best, 2e-9 * CHAINS * lanes * count / (time.perf_counter() - start))
    return best


@intrinsic(prefer_literal=True)
def _read(tc, address, count, lanes):
    wide, ways = lanes.literal_value, 8

    def emit_sums(context: Any, bd: Any, sig: Any, args: Any) -> Any:
        sums = [emit.zero(bd, wide).v for _ in range(ways)]

        def body(index: Any, carried: list[Any]) -> list[Any]:
            at = bd.add(args[0], bd.mul(index, i64(4)))
            loads = [emit.load(bd, bd.add(at, i64(4 * wide * i)), wide) for i in range(ways)]
            return [(emit.V(bd, x) + y).v for x, y in zip(carried, loads, strict=True)]

        sums = emit.loop(bd, i64(0), args[1], ways * wide, sums, body)
        total = emit.V(bd, sums[0])
        for x in sums[1:]:
            total = total + emit.V(bd, x)
        return emit.sum_lanes(total)

    return types.float32(types.intp, types.intp, lanes), emit_sums


def bandwidths(seconds: float = 1.0) -> dict[str, float]:
    """The most GB/s that one core was seen to read from L2, L3 and memory, ``seconds`` for each."""
    target = detect()
    lanes = target.lanes
    sizes = {"L2": target.l2 // 2, "L3": target.l3 // 4, "memory": max(4 * target.l3, 256 << 20)}

    @numba.njit(nogil=True)
    def run(address, count, rounds):
        total = np.float32(0)
        for _ in range(rounds):
            total += _read(address, count, lanes)
        return total

    found = {}
    for level, nbytes in sizes.items():
        count = nbytes // 4 // (8 * lanes) * (8 * lanes)
        array = np.ones(count, np.float32)
        rounds = max(1, (8 << 20) // nbytes)
        run(array.ctypes.data, count, rounds)
        best, end = 0.0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            run(array.ctypes.data, count, rounds)
            best = max(best, 4e-9 * count * rounds / (time.perf_counter() - start))
        found[level] = best
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{gflops():.0f} GFLOP/s\n")
    for level, speed in bandwidths().items():
        sys.stdout.write(f"{level}: {speed:.0f} GB/s\n")
