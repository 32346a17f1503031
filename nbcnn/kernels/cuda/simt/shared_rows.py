"""Rows that several threads share: softmax, normalisation by the row's own moments, moments of groups.

GROUP threads, a power of two, share a row; a block of THREADS has so many rows at once. The threads of a
group join what each found by a tree in shared memory. Idle groups read the last row again and write nothing.
Elements from ``length`` up to ``width`` pad a pixel: zeros are written there. Rows of HELD elements a thread
stay in registers (``make_held_...``); longer ones are read once for each sum over them, the first time from
memory and then from a cache. Softmax and normalisation may run in place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import cuda, float32, int32

from nbcnn.kernels.cuda.simt.elementary import exp, log, sqrt
from nbcnn.kernels.cuda.simt.memory import reader, writer
from nbcnn.kernels.cuda.simt.offsets import digit, offset

LOWEST = np.float32(-np.inf)

HELD = 8
"""Elements of a row that one thread can hold."""


@cuda.jit(device=True)
def _sum(shared, value, me, member, group):
    """The sum of all the group's values; every thread of the block must come here."""
    shared[me] = value
    cuda.syncthreads()
    half = group >> 1
    while half > 0:
        if member < half:
            shared[me] = shared[me] + shared[me + half]
        cuda.syncthreads()
        half >>= 1
    value = shared[me - member]
    cuda.syncthreads()
    return value


@cuda.jit(device=True)
def _largest(shared, value, me, member, group):
    """The largest of all the group's values, none of them NaN."""
    shared[me] = value
    cuda.syncthreads()
    half = group >> 1
    while half > 0:
        if member < half:
            shared[me] = max(shared[me], shared[me + half])
        cuda.syncthreads()
        half >>= 1
    value = shared[me - member]
    cuda.syncthreads()
    return value


def make_softmax(LOG: int, KIND: str, THREADS: int, GROUP: int) -> Callable[..., None]:
    """out = exp(x - max(x)) / sum(exp(x - max(x))) of each row; with LOG 1 its logarithm."""
    read, write = reader(KIND), writer(KIND)
    ROWS = THREADS // GROUP

    def softmax(x, out, rows, length, width, x_pitch, out_pitch):
        shared = cuda.shared.array(THREADS, float32)
        me = int32(cuda.threadIdx.x)
        member = int32(me % GROUP)
        first = int32(cuda.blockIdx.x * ROWS)
        while first < rows:
            mine = int32(first + me // GROUP)
            row = min(mine, int32(rows - 1))
            at, to = offset(row, x_pitch), offset(row, out_pitch)
            # A NaN need not survive the maximum: its own exponential, and so the sum, is NaN.
            top = LOWEST
            i = member
            while i < length:
                value = read(x, at + offset(i, 1))
                top = value if value > top else top
                i += GROUP
            top = _largest(shared, top, me, member, GROUP)
            total = float32(0)
            i = member
            while i < length:
                total += exp(read(x, at + offset(i, 1)) - top)
                i += GROUP
            total = _sum(shared, total, me, member, GROUP)
            scale = log(total) if LOG else float32(1) / total
            i = member if mine < rows else width
            while i < length:
                below = read(x, at + offset(i, 1)) - top
                write(out, to + offset(i, 1), below - scale if LOG else exp(below) * scale)
                i += GROUP
            while i < width:
                write(out, to + offset(i, 1), float32(0))
                i += GROUP
            first += int32(cuda.gridDim.x * ROWS)

    return softmax


def make_held_softmax(LOG: int, KIND: str, THREADS: int, GROUP: int) -> Callable[..., None]:
    """The same for rows of HELD * GROUP elements at most, of ``width`` too."""
    read, write = reader(KIND), writer(KIND)
    ROWS = THREADS // GROUP

    def softmax(x, out, rows, length, width, x_pitch, out_pitch):
        shared = cuda.shared.array(THREADS, float32)
        held = cuda.local.array(HELD, float32)
        me = int32(cuda.threadIdx.x)
        member = int32(me % GROUP)
        first = int32(cuda.blockIdx.x * ROWS)
        while first < rows:
            mine = int32(first + me // GROUP)
            row = min(mine, int32(rows - 1))
            at, to = offset(row, x_pitch), offset(row, out_pitch)
            for k in range(HELD):
                i = int32(member + k * GROUP)
                value = read(x, at + offset(min(i, int32(length - 1)), 1))
                held[k] = value if i < length else LOWEST
            top = LOWEST
            for k in range(HELD):
                top = held[k] if held[k] > top else top
            top = _largest(shared, top, me, member, GROUP)
            total = float32(0)
            for k in range(HELD):
                below = held[k] - top
                share = exp(below)
                held[k] = below if LOG else share
                total += share
            total = _sum(shared, total, me, member, GROUP)
            scale = log(total) if LOG else float32(1) / total
            for k in range(HELD):
                i = int32(member + k * GROUP)
                value = held[k] - scale if LOG else held[k] * scale
                if mine < rows and i < width:
                    write(out, to + offset(i, 1), value if i < length else float32(0))
            first += int32(cuda.gridDim.x * ROWS)

    return softmax


def make_rows(CENTRED: int, KIND: str, THREADS: int, GROUP: int) -> Callable[..., None]:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias of each row; the mean of x^2 if not centred."""
    read, write = reader(KIND), writer(KIND)
    ROWS = THREADS // GROUP

    def normalise(x, out, weight, bias, rows, length, width, x_pitch, out_pitch, epsilon):
        shared = cuda.shared.array(THREADS, float32)
        me = int32(cuda.threadIdx.x)
        member = int32(me % GROUP)
        count = float32(length)
        first = int32(cuda.blockIdx.x * ROWS)
        while first < rows:
            mine = int32(first + me // GROUP)
            row = min(mine, int32(rows - 1))
            at, to = offset(row, x_pitch), offset(row, out_pitch)
            mean = float32(0)
            if CENTRED:
                i = member
                while i < length:
                    mean += read(x, at + offset(i, 1))
                    i += GROUP
                mean = _sum(shared, mean, me, member, GROUP) / count
            squares = float32(0)
            i = member
            while i < length:
                away = read(x, at + offset(i, 1)) - mean
                squares += away * away
                i += GROUP
            squares = _sum(shared, squares, me, member, GROUP)
            scale = float32(1) / sqrt(squares / count + epsilon)
            i = member if mine < rows else width
            while i < length:
                away = (read(x, at + offset(i, 1)) - mean) * scale
                write(out, to + offset(i, 1), away * weight[offset(i, 1)] + bias[offset(i, 1)])
                i += GROUP
            while i < width:
                write(out, to + offset(i, 1), float32(0))
                i += GROUP
            first += int32(cuda.gridDim.x * ROWS)

    return normalise


def make_held_rows(CENTRED: int, KIND: str, THREADS: int, GROUP: int) -> Callable[..., None]:
    """The same for rows of HELD * GROUP elements at most, of ``width`` too."""
    read, write = reader(KIND), writer(KIND)
    ROWS = THREADS // GROUP

    def normalise(x, out, weight, bias, rows, length, width, x_pitch, out_pitch, epsilon):
        shared = cuda.shared.array(THREADS, float32)
        held = cuda.local.array(HELD, float32)
        me = int32(cuda.threadIdx.x)
        member = int32(me % GROUP)
        count = float32(length)
        first = int32(cuda.blockIdx.x * ROWS)
        while first < rows:
            mine = int32(first + me // GROUP)
            row = min(mine, int32(rows - 1))
            at, to = offset(row, x_pitch), offset(row, out_pitch)
            for k in range(HELD):
                i = int32(member + k * GROUP)
                value = read(x, at + offset(min(i, int32(length - 1)), 1))
                held[k] = value if i < length else float32(0)
            mean = float32(0)
            if CENTRED:
                for k in range(HELD):
                    mean += held[k]
                mean = _sum(shared, mean, me, member, GROUP) / count
            squares = float32(0)
            for k in range(HELD):
                held[k] -= mean
                squares += held[k] * held[k] if member + k * GROUP < length else float32(0)
            squares = _sum(shared, squares, me, member, GROUP)
            scale = float32(1) / sqrt(squares / count + epsilon)
            for k in range(HELD):
                i = int32(member + k * GROUP)
                if mine < rows and i < length:
                    value = (held[k] * scale) * weight[offset(i, 1)] + bias[offset(i, 1)]
                    write(out, to + offset(i, 1), value)
                elif mine < rows and i < width:
                    write(out, to + offset(i, 1), float32(0))
            first += int32(cuda.gridDim.x * ROWS)

    return normalise


def make_combine(THREADS: int) -> Callable[..., None]:
    """Moments of groups of channels, from those of runs of pixels that `norm.make_moments` wrote.

    ``sums`` [images, chunks, 2, width]: of each channel the mean and the sum of squared distances from it,
    over ``run`` pixels, the last time over what is left of ``pixels``. ``moments`` [images, 2, width]: the
    mean of the channel's group of ``each`` channels, and the weight over the deviation there. A block takes a
    group.
    """

    def combine(
        sums, moments, weight, jobs, groups, groups_factor, groups_shift, each, each_factor, each_shift,
        chunks, run, pixels, width, epsilon,
    ):  # fmt: skip
        shared = cuda.shared.array(THREADS, float32)
        me = int32(cuda.threadIdx.x)
        count = float32(pixels) * float32(each)
        job = int32(cuda.blockIdx.x)
        while job < jobs:
            image, group = digit(job, groups, groups_factor, groups_shift)
            at = offset(image, 2 * width) * offset(chunks, 1) + offset(group, each)
            to = offset(image, 2 * width) + offset(group, each)
            mean = float32(0)
            i = me
            while i < chunks * each:
                chunk, c = digit(i, each, each_factor, each_shift)
                points = float32(min(run, int32(pixels - chunk * run)))
                mean += sums[at + offset(chunk, 2 * width) + offset(c, 1)] * points
                i += THREADS
            mean = _sum(shared, mean, me, me, THREADS) / count
            squares = float32(0)
            i = me
            while i < chunks * each:
                chunk, c = digit(i, each, each_factor, each_shift)
                points = float32(min(run, int32(pixels - chunk * run)))
                place = at + offset(chunk, 2 * width) + offset(c, 1)
                away = sums[place] - mean
                squares += sums[place + offset(width, 1)] + away * away * points
                i += THREADS
            squares = _sum(shared, squares, me, me, THREADS)
            sigma = sqrt(squares / count + epsilon)
            i = me
            while i < each:
                here = to + offset(i, 1)
                moments[here] = mean
                moments[here + offset(width, 1)] = weight[offset(group, each) + offset(i, 1)] / sigma
                i += THREADS
            job += int32(cuda.gridDim.x)

    return combine
