"""Which element along an axis is the largest or the smallest. Blocks are shared out as in `reduce`."""

from __future__ import annotations

from collections.abc import Callable

from numba import cuda, float32, int32, int64

from nbcnn.kernels.cuda.simt.memory import reader
from nbcnn.kernels.cuda.simt.offsets import digit, offset


def make(
    LARGEST: bool, LAST: bool, SOURCE: str, OUTPUTS: int, THREADS: int, ACROSS: bool
) -> Callable[..., None]:
    """The place, int64, of the largest of ``count`` elements that lie ``apart``, for each of ``results``.

    Of equal ones the first counts, or the last; a NaN counts as larger, or smaller, than any number. Axes are
    those that stay, as in `nbcnn.kernels.cuda.simt.reduce.make`.
    """
    read = reader(SOURCE)
    TEAM = THREADS // OUTPUTS

    @cuda.jit(device=True)
    def wins(value, place, best, at):
        """Whether an element takes the place of the best so far; there is none at a negative place."""
        if place < 0 or at < 0:
            return at < 0
        if value > best or (value != value and best == best):
            return True
        equal = value == best or (value != value and best != best)
        return equal and (place > at if LAST else place < at)

    def arg(
        source, target, results, count, apart,
        n0, f0, h0, a0, b0, n1, f1, h1, a1, b1, n2, f2, h2, a2, b2,
        n3, f3, h3, a3, b3, n4, f4, h4, a4, b4, n5, f5, h5, a5, b5,
    ):  # fmt: skip
        values = cuda.shared.array(THREADS, float32)
        places = cuda.shared.array(THREADS, int32)
        me = int32(cuda.threadIdx.x)
        mine = me % OUTPUTS if ACROSS else me // TEAM
        member = me // OUTPUTS if ACROSS else me % TEAM
        here = mine + OUTPUTS * member
        first = int32(cuda.blockIdx.x) * OUTPUTS
        while first < results:
            rest, d0 = digit(first + mine, n0, f0, h0)
            rest, d1 = digit(rest, n1, f1, h1)
            rest, d2 = digit(rest, n2, f2, h2)
            rest, d3 = digit(rest, n3, f3, h3)
            d5, d4 = digit(rest, n4, f4, h4)
            at = offset(d0, a0) + offset(d1, a1) + offset(d2, a2)
            at += offset(d3, a3) + offset(d4, a4) + offset(d5, a5)
            best, place = float32(0), int32(-1)
            i = int32(member) if first + mine < results else int32(count)
            while i < count:
                value = read(source, at + offset(i, apart))
                value = value if LARGEST else -value
                if wins(value, i, best, place):
                    best, place = value, i
                i = int32(i + TEAM)
            if TEAM > 1:
                values[here] = best
                places[here] = place
                cuda.syncthreads()
                half = TEAM // 2
                while half:
                    other = here + half * OUTPUTS
                    if member < half and wins(values[other], places[other], values[here], places[here]):
                        values[here] = values[other]
                        places[here] = places[other]
                    cuda.syncthreads()
                    half //= 2
                place = places[mine]
                cuda.syncthreads()
            if member == 0 and first + mine < results:
                to = offset(d0, b0) + offset(d1, b1) + offset(d2, b2)
                to += offset(d3, b3) + offset(d4, b4) + offset(d5, b5)
                target[to] = int64(place)
            first += int32(cuda.gridDim.x) * OUTPUTS

    return arg
