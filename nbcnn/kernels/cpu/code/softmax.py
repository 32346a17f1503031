"""Softmax over the channels of each row, or its logarithm.

Slots: 0 in, 1 out, 2 rows, 3 C, 4 in pitch, 5 out pitch; addresses in bytes, pitches in floats.
C is the true number of channels: no float past it is written or matters; pad lanes are loaded where
the pitch has room for them.  May run in place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nbcnn.kernels.cpu.code.simd import (
    arg,
    vexp,
    vfirst,
    vhmax,
    vload,
    vload_first,
    vlog,
    vmax,
    vset,
    vstore,
    vstore_first,
    vsum,
    vzero,
)

_LOWEST = np.float32(-np.inf)


def make(LOG: int, LANES: int) -> Callable[[int, int, int], None]:
    """out = exp(x - max(x)) / sum(exp(x - max(x))) of each row; with LOG 1 its logarithm."""

    def softmax(args, part, parts):
        source, out, rows, C = arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)
        in_pitch, out_pitch = arg(args, 4), arg(args, 5)
        # The last vector of a row stays in registers: all there is of a short one.
        whole = (C - 1) // LANES * LANES
        rest = C - whole
        for row in range(rows * part // parts, rows * (part + 1) // parts):
            x, y = source + 4 * row * in_pitch, out + 4 * row * out_pitch
            # A NaN need not survive the maximum: its own exponential, and so the sum, is NaN.
            # A masked load that misses the TLB takes as long as the whole row (AMD Zen 5).
            if in_pitch >= whole + LANES:
                tail = vload(x + 4 * whole, LANES)
            else:
                tail = vload_first(x + 4 * whole, rest, LANES)
            top = vfirst(rest, tail, vset(_LOWEST, LANES))
            for i in range(0, 4 * whole, 4 * LANES):
                top = vmax(vload(x + i, LANES), top)
            top = vset(vhmax(top), LANES)
            # exp(0) in the lanes past C: a subnormal there would cost more than the whole row.
            tail = vfirst(rest, tail, top) - top
            last = vfirst(rest, vexp(tail), vzero(LANES))
            total = last
            for i in range(0, 4 * whole, 4 * LANES):
                e = vexp(vload(x + i, LANES) - top)
                total += e
                if LOG == 0:
                    vstore(y + i, e)
            sum_ = vset(vsum(total), LANES)
            if LOG == 0:
                scale = 1.0 / sum_
                for i in range(0, 4 * whole, 4 * LANES):
                    vstore(y + i, vload(y + i, LANES) * scale)
                vstore_first(y + 4 * whole, last * scale, rest)
            else:
                log = vlog(sum_)
                for i in range(0, 4 * whole, 4 * LANES):
                    vstore(y + i, (vload(x + i, LANES) - top) - log)
                vstore_first(y + 4 * whole, tail - log, rest)

    return softmax
