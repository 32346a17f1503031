"""The machine's peak: multiply-adds of whole vectors, and nothing else, on one core.

python benchmarks/peak.py
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numba
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


if __name__ == "__main__":
    sys.stdout.write(f"{gflops():.0f} GFLOP/s\n")
