"""Reductions along any axes of a value in any order of its axes.

A block computes OUTPUTS results at once, each by THREADS / OUTPUTS of its threads, which join what they
found in shared memory. With ACROSS neighbouring threads have neighbouring results, else neighbouring
elements of one result: what lies side by side in memory is read side by side.

Sums run over at most `RUN` elements before they join the total of a thread: rounding errors grow with
the sum of the two lengths instead of their product.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import cuda, float32, int32

from nbcnn.kernels.cuda.simt.activations import activation
from nbcnn.kernels.cuda.simt.memory import reader, writer
from nbcnn.kernels.cuda.simt.offsets import digit, offset

CHAINS = 4
"""Elements that a thread asks for before it needs the first of them."""

RUN = 64 * CHAINS

_TERMS = {"same": lambda x: x, "abs": lambda x: abs(x), "square": lambda x: x * x}
"""What is joined for an element."""

_JOINS = {
    "sum": lambda x, y: x + y,
    "prod": lambda x, y: x * y,
    "max": lambda x, y: y if y > x or y != y else x,
    "min": lambda x, y: y if y < x or y != y else x,
}
"""Two results as one; NaN is the largest and the smallest of numbers."""

_NEUTRAL = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}


def make(
    TERM: str,
    JOIN: str,
    END: str,
    SOURCE: str,
    TARGET: str,
    OUTPUTS: int,
    THREADS: int,
    ACROSS: bool,
    AXES: int,
) -> Callable[..., None]:
    """``count`` elements that lie along AXES axes of the source, joined for each of ``results``.

    END is an activation for the result; ``scale`` is what that is multiplied with. Of the first of the six
    axes that stay, the fastest, ``valid`` are no padding, which becomes 0. Of an axis that stays: extent, its
    `nbcnn.kernels.cuda.division.reciprocal`, strides in source and target; of one that goes no target. Axes
    that there are not have an extent of 1. The grid's rows share the ``parts`` of all reductions, ``length``
    elements each, whose results lie ``apart``.
    """
    read, write, end = reader(SOURCE), writer(TARGET), activation(END)
    term, join = (cuda.jit(device=True)(f) for f in (_TERMS[TERM], _JOINS[JOIN]))
    nothing, zero = np.float32(_NEUTRAL[JOIN]), np.float32(0)
    TEAM = THREADS // OUTPUTS

    def reduce(
        source, target, results, valid, count, parts, length, apart, scale,
        n0, f0, h0, a0, b0, n1, f1, h1, a1, b1, n2, f2, h2, a2, b2,
        n3, f3, h3, a3, b3, n4, f4, h4, a4, b4, n5, f5, h5, a5, b5,
        m0, g0, k0, c0, m1, g1, k1, c1, m2, g2, k2, c2,
    ):  # fmt: skip
        shared = cuda.shared.array(THREADS, float32)
        chain = cuda.local.array(CHAINS, float32)
        me = int32(cuda.threadIdx.x)
        mine = me % OUTPUTS if ACROSS else me // TEAM
        member = me // OUTPUTS if ACROSS else me % TEAM
        here = mine + OUTPUTS * member
        part = int32(cuda.blockIdx.y)
        while part < parts:
            stop = min(count, int32((part + 1) * length))
            first = int32(cuda.blockIdx.x) * OUTPUTS
            while first < results:
                rest, d0 = digit(first + mine, n0, f0, h0)
                rest, d1 = digit(rest, n1, f1, h1)
                rest, d2 = digit(rest, n2, f2, h2)
                rest, d3 = digit(rest, n3, f3, h3)
                d5, d4 = digit(rest, n4, f4, h4)
                at = offset(d0, a0) + offset(d1, a1) + offset(d2, a2)
                at += offset(d3, a3) + offset(d4, a4) + offset(d5, a5)
                real = first + mine < results and d0 < valid
                total = nothing
                i = int32(part * length + member) if real else stop
                while i < stop:
                    last = min(stop, int32(i + RUN * TEAM))
                    for k in range(CHAINS):
                        chain[k] = nothing
                    while i < last:
                        for k in range(CHAINS):
                            j = int32(i + k * TEAM)
                            inside = j < last
                            j = j if inside else i
                            if AXES == 1:
                                value = read(source, at + offset(j, c0))
                            elif AXES == 2:
                                left, e0 = digit(j, m0, g0, k0)
                                value = read(source, at + offset(e0, c0) + offset(left, c1))
                            else:
                                left, e0 = digit(j, m0, g0, k0)
                                left, e1 = digit(left, m1, g1, k1)
                                value = read(source, at + offset(e0, c0) + offset(e1, c1) + offset(left, c2))
                            chain[k] = join(chain[k], term(value) if inside else nothing)
                        i += CHAINS * TEAM
                    for k in range(CHAINS):
                        total = join(total, chain[k])
                if TEAM > 1:
                    shared[here] = total
                    cuda.syncthreads()
                    half = TEAM // 2
                    while half:
                        if member < half:
                            shared[here] = join(shared[here], shared[here + half * OUTPUTS])
                        cuda.syncthreads()
                        half //= 2
                    total = shared[mine]
                    cuda.syncthreads()
                if member == 0 and first + mine < results:
                    to = offset(part, apart) + offset(d0, b0) + offset(d1, b1) + offset(d2, b2)
                    to += offset(d3, b3) + offset(d4, b4) + offset(d5, b5)
                    write(target, to, end(total, zero, zero) * scale if real else zero)
                first += int32(cuda.gridDim.x) * OUTPUTS
            part += cuda.gridDim.y

    return reduce
