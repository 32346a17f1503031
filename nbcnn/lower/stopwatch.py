"""Times kernels at their sites, in the order of the network, so that weights are as cold as there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import Emit, Kernel, Site
from nbcnn.kernels.cpu import convert
from nbcnn.kernels.layouts import Address, Buffer, Layout, View, round_up
from nbcnn.kernels.steps import Step
from nbcnn.lower import memory
from nbcnn.lower.plan import encode
from nbcnn.runtime import codecache, driver
from nbcnn.runtime.program import ROW, Context

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) during long work."""

Call = tuple[int, int, list[np.ndarray]]
"""Rows of a step table: the address of the first and how many; the memory of the operands."""

Times = tuple[float, ...]
"""The least seconds of a kernel at each of the `PLACES` of its results."""

PLACES = (0, 2368)
"""Bytes by which results are shifted: how they lie to the operands decides what shares a set of a cache."""

ROUNDS = 3
"""Each kernel of a site runs at least so often, with its results at each place."""

FINAL_ROUNDS, FINALISTS = 8, 3
"""Where there are more others, the first and so many of the fastest are timed anew, in so many rounds."""


def timed(
    sites: list[tuple[Site, tuple[Kernel, ...]]], emit: Emit, progress: Progress | None = None
) -> list[list[Times]]:
    """The seconds of each kernel of each site.

    Each pass goes over the sites in order and runs one kernel at each, in the next pass the next one. Its
    operands are in the caches, as far as they fit.
    ``progress(done, total, what)`` is called while kernels are compiled, and after each pass.
    """
    steps = [[steps_of(site, kernel, emit) for kernel in kernels] for site, kernels in sites]
    return timed_steps(steps, emit, progress)


def timed_steps(
    sites: list[list[list[Step]]], emit: Emit, progress: Progress | None = None
) -> list[list[Times]]:
    """`timed` for the steps of each kernel of each site."""
    steps = [step for kernels in sites for group in kernels for step in group]
    codecache.warm([(spec, emit.target) for spec in dict.fromkeys(step.kernel for step in steps)], progress)
    programs = [_program(sites, shift, emit) for shift in PLACES]
    running = [list(range(len(kernels))) for kernels in sites]
    found = _run(programs, running, ROUNDS, emit, progress)
    if any(len(numbers) > 1 + FINALISTS for numbers in running):
        running = [_fastest(row, FINALISTS) for row in found]
        # What was fast by chance may not keep that time.
        final = _run(programs, running, FINAL_ROUNDS, emit, progress)
        for row, numbers, times in zip(found, running, final, strict=True):
            for number in numbers:
                row[number] = times[number]
    return found


@dataclass(frozen=True)
class _Program:
    """The calls of each kernel of each site, and the memory that they work in."""

    calls: list[list[Call]]
    context: Context


def _program(sites: list[list[list[Step]]], shift: int, emit: Emit) -> _Program:
    groups = [group for kernels in sites for group in kernels]
    offsets, arena = shared_memory(groups, shift)
    steps = [step for group in groups for step in group]
    context = Context(encode([*steps], offsets, emit, arena, {}))
    noise = np.random.default_rng(0).standard_normal(arena // 4 + 1, np.float32)
    context.arena[:] = noise.view(np.uint8)[: len(context.arena)]
    calls: list[list[Call]] = []
    address = context.table_address
    for kernels in sites:
        calls.append([])
        for group in kernels:
            found = {a.buffer: None for s in group for a in s.args if isinstance(a, Address)}
            read = [b for b in found if b.purpose == "operand"]
            operands = [context.arena[offsets[b] : offsets[b] + b.nbytes].view(np.int32) for b in read]
            calls[-1].append((address, len(group), operands[::-1]))
            address += ROW * len(group)
    return _Program(calls, context)


def _fastest(times: list[Times], others: int) -> list[int]:
    return [0, *sorted(range(1, len(times)), key=lambda n: sum(times[n]))[:others]]


def _run(
    programs: list[_Program],
    running: list[list[int]],
    rounds: int,
    emit: Emit,
    progress: Progress | None,
) -> list[list[Times]]:
    """The seconds of all kernels in passes enough that those ``running`` run so many ``rounds``."""
    passes = rounds * max(map(len, running))
    threads, clock = emit.options.threads or 1, time.perf_counter
    best = [[[float("inf")] * len(row) for row in program.calls] for program in programs]
    for number in range(passes):
        for program, least in zip(programs, best, strict=True):
            for calls, numbers, row in zip(program.calls, running, least, strict=True):
                kernel = numbers[number % len(numbers)]
                address, count, operands = calls[kernel]
                for operand in operands:  # as if the layer before had just written it
                    np.bitwise_or(operand, 0, out=operand)
                start = clock()
                driver.walk(address, count, threads)
                row[kernel] = min(row[kernel], clock() - start)
        if progress:
            progress(number + 1, passes, "timing kernels")
    return [[*zip(*rows, strict=True)] for rows in zip(*best, strict=True)]


def steps_of(site: Site, kernel: Kernel, emit: Emit) -> list[Step]:
    """The steps of a kernel but for those in Python, which trials have no operands for."""
    return [step for step in kernel.steps(site, *_views(site, kernel, emit), emit) if isinstance(step, Step)]


def _views(site: Site, kernel: Kernel, emit: Emit) -> tuple[tuple[View, ...], tuple[View, ...]]:
    """Operands and results in buffers of their own, in the layouts that ``kernel`` wants."""
    reads = kernel.reads(site)
    writes = kernel.writes(site, reads)
    ins = tuple(view(*it, emit, "operand") for it in zip(site.data, site.in_types, reads, strict=True))
    outs = tuple(view(*it, emit, "value") for it in zip(site.outputs, site.out_types, writes, strict=True))
    return ins, outs


def view(name: str, type_: TensorType, layout: Layout, emit: Emit, purpose: str) -> View:
    """A value in a buffer of its own."""
    buffer = Buffer(name, convert.nbytes(layout, emit.target, emit.batch, type_), purpose=purpose)
    return convert.view_of(buffer, layout, emit.target, type_.elements(emit.batch) // emit.batch)


def shared_memory(groups: list[list[Step]], shift: int = 0) -> tuple[dict[Buffer, int], int]:
    """Offsets that all trials share: operands, which nothing overwrites, and ``shift`` later all else.

    After each buffer there is room for what steps read past it.
    """
    operands, others = 0, 0
    found: list[dict[Buffer, int]] = []
    for group in groups:
        room = dict.fromkeys((a.buffer for s in group for a in s.args if isinstance(a, Address)), 0)
        for step in group:
            if isinstance(first := step.args[0], Address):
                room[first.buffer] = max(room[first.buffer], step.overread)
        found.append(room)
    offsets: dict[Buffer, int] = {}
    for purpose_is_operand in (True, False):
        most = 0
        for room in found:
            at = operands
            for buffer, past in room.items():
                if (buffer.purpose == "operand") == purpose_is_operand:
                    offsets[buffer] = at
                    at = round_up(at + buffer.nbytes + past, memory.ALIGNMENT)
            most = max(most, at)
        operands, others = most + shift, most
    return offsets, others
