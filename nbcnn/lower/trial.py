"""Trials: kernels whose speed no estimate foretells are timed on this machine, against their rivals.

The times are remembered in the kernel cache, under everything they depend on: the compiled kernels, the
sites, the zeros of their weights, the machine and the threads.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Callable, Hashable

import numpy as np

from nbcnn.ir.types import TensorType
from nbcnn.kernels.base import (
    Address,
    Buffer,
    Emit,
    Kernel,
    Layout,
    PythonStep,
    Site,
    Step,
    Store,
    View,
    round_up,
)
from nbcnn.kernels.cpu import convert
from nbcnn.lower import memory
from nbcnn.lower.plan import encode
from nbcnn.lower.select import Candidate, Contest, Offer
from nbcnn.options import CompileOptions
from nbcnn.runtime import codecache, driver, store
from nbcnn.runtime.program import ROW, Context
from nbcnn.target import Target

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) during long work."""

ROUNDS = 6
"""Each kernel runs so often, in the order of the network, so that its weights are as cold as there."""

HOPELESS = 4.0
"""A rival that is estimated to take so many times as long as the best rival is not tried."""


def measure(
    contests: list[Contest], target: Target, options: CompileOptions, progress: Progress | None = None
) -> list[Contest]:
    """``contests`` with the measured seconds of those kernels that must be tried, and of their rivals.

    ``progress(done, total, kernel)`` is called while kernels are compiled for the trial.
    """
    entries = [(i, kernel) for i, contest in enumerate(contests) for kernel in _to_try(contest)]
    if not entries:
        return contests
    sites = [(contests[i].site, kernel) for i, kernel in entries]
    leading = sites[0][0].out_types[0].shape[0]  # that of all sites which kernels can serve
    batch = leading if isinstance(leading, int) else 1
    key = _key(sites, Emit(batch, target, options, _Unpacked()))
    times = _remembered(key, len(entries))
    if times is None:
        times = _timed(sites, Emit(batch, target, options, Store()), progress)
        store.write("trial", key, json.dumps(times).encode())
    found = list(contests)
    for i in {i for i, _ in entries}:
        tried = {kernel: t for (j, kernel), t in zip(entries, times, strict=True) if j == i}
        offers = tuple(Offer(kernel, seconds, True) for kernel, seconds in tried.items())
        hopeless = (
            Candidate(o.kernel.name, o.seconds, None) for o in found[i].offers if o.kernel not in tried
        )
        found[i] = Contest(found[i].site, offers, (*hopeless, *found[i].refused))
    return found


def _to_try(contest: Contest) -> list[Kernel]:
    """The kernels to be tried at a site: none, or at least two."""
    rivals = [o.seconds for o in contest.offers if not o.kernel.on_trial]
    if len(rivals) in (0, len(contest.offers)) or contest.site.constants:
        return []
    limit = HOPELESS * min(rivals)
    return [o.kernel for o in contest.offers if o.kernel.on_trial or o.seconds <= limit]


class _Unpacked(Store):
    """Makes nothing: steps that are emitted with it are never run."""

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        return np.zeros(1, np.int32)


def _key(sites: list[tuple[Site, Kernel]], emit: Emit) -> str:
    """A digest of everything that the times depend on."""
    parts: list[object] = [emit.target, emit.options.threads, platform.node()]
    for site, kernel in sites:
        ins, outs = _views(site, kernel, emit)
        steps = _steps(site, kernel, ins, outs, emit)
        calls = [
            (codecache.key(s.kernel, emit.target), [a for a in s.args if isinstance(a, int)]) for s in steps
        ]
        parts.append((repr(site.op), site.in_types, [w.sparsity for _, w in site.weights], calls))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _remembered(key: str, count: int) -> list[float] | None:
    """The seconds of ``count`` kernels that were written under ``key``; None if there are none, or others."""
    try:
        times = json.loads(store.read("trial", key) or b"null")
    except (ValueError, RecursionError):
        return None
    sound = isinstance(times, list) and all(isinstance(t, float) and 0 <= t < math.inf for t in times)
    return times if sound and len(times) == count else None


def _views(site: Site, kernel: Kernel, emit: Emit) -> tuple[tuple[View, ...], tuple[View, ...]]:
    """Operands and results in buffers of their own, in the layouts that ``kernel`` wants."""

    def view(name: str, type_: TensorType, layout: Layout, purpose: str) -> View:
        lanes, size = emit.target.lanes, type_.elements(emit.batch)
        buffer = Buffer(name, convert.nbytes(layout, lanes, emit.batch, size), purpose=purpose)
        return convert.view_of(buffer, layout, lanes, size // emit.batch)

    reads = kernel.reads(site)
    ins = tuple(view(*it, "operand") for it in zip(site.data, site.in_types, reads, strict=True))
    writes = kernel.writes(site, reads)
    outs = tuple(view(*it, "value") for it in zip(site.outputs, site.out_types, writes, strict=True))
    return ins, outs


def _steps(
    site: Site, kernel: Kernel, ins: tuple[View, ...], outs: tuple[View, ...], emit: Emit
) -> list[Step]:
    """The steps of a kernel but for those in Python, which trials have no operands for."""
    return [step for step in kernel.steps(site, ins, outs, emit) if isinstance(step, Step)]


def _timed(sites: list[tuple[Site, Kernel]], emit: Emit, progress: Progress | None = None) -> list[float]:
    """The least seconds of each kernel at its site, over several rounds."""
    groups = [_steps(site, kernel, *_views(site, kernel, emit), emit) for site, kernel in sites]
    steps: list[Step | PythonStep] = [step for group in groups for step in group]
    specs = dict.fromkeys(step.kernel for group in groups for step in group)
    codecache.warm([(spec, emit.target) for spec in specs], progress)
    offsets, arena = _places(groups)
    context = Context(encode(steps, offsets, emit, arena, {}))
    noise = np.random.default_rng(0).standard_normal(arena // 4 + 1, np.float32)
    context.arena[:] = noise.view(np.uint8)[: len(context.arena)]
    ends = np.cumsum([len(group) for group in groups])
    best = [float("inf")] * len(groups)
    for _ in range(ROUNDS):
        for i, group in enumerate(groups):
            address = context.table_address + ROW * int(ends[i] - len(group))
            start = time.perf_counter()
            driver.walk(address, len(group), emit.options.threads or 1)
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def _places(groups: list[list[Step]]) -> tuple[dict[Buffer, int], int]:
    """Offsets that all trials share: operands first, which nothing overwrites, then all else.

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
        operands, others = most, most
    return offsets, others
