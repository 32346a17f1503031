"""A program: for each batch size a plan (steps, offsets), for each call at a time a context (memory).

Knows neither graphs nor operators: addresses of compiled functions, blocks of arguments, buffers.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from nbcnn.runtime import driver
from nbcnn.runtime.driver import Walk
from nbcnn.runtime.forks import ForkSafeLock

HUGE = 4 << 20
"""Arenas from this size on ask for huge pages: fewer address translations."""

ROW = 16
"""Bytes of a row of a step table: two addresses."""

PLANS = 16
"""How many plans (batch sizes) a program keeps; the one unused for longest goes first."""

AnyPlan = TypeVar("AnyPlan")

_planning = ForkSafeLock()
"""Plans are built one at a time, whichever program they are for: they share the code cache anyway."""


@dataclass(frozen=True)
class External:
    """An argument slot that holds an address in a caller's array."""

    index: int
    name: str
    offset: int


@dataclass(frozen=True)
class PythonCall:
    """A step done in Python: reads and writes plain arrays of a context."""

    function: Callable[[Context], None]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is fixed for one batch size.

    ``kernels[i]`` is the function of step i, whose arguments begin at ``args[starts[i]]``;
    ``relocations`` index the arguments that are arena offsets, ``rows`` those that are numbers of rows of the
    table and become their addresses. ``segments`` are native ranges of
    steps and Python calls in order, ``results`` the shape and dtype of each output. ``keep`` holds the
    arrays that arguments point into, ``notes`` what the compiler wants to remember of this plan.
    """

    kernels: np.ndarray
    args: np.ndarray
    starts: np.ndarray
    relocations: np.ndarray
    rows: np.ndarray
    inputs: tuple[External, ...]
    outputs: tuple[External, ...]
    results: Mapping[str, tuple[tuple[int, ...], np.dtype]]
    segments: tuple[tuple[int, int] | PythonCall, ...]
    arena_bytes: int
    keep: tuple[object, ...] = ()
    notes: Any = None
    pool: list[Context] = field(default_factory=list)


class Context:
    """The memory of one call at a time: an arena, and arguments that point into it."""

    def __init__(self, plan: Plan) -> None:
        # Pages of its own: freed at once with the context, where the heap would keep holes of them.
        self.arena = np.frombuffer(_pages(max(plan.arena_bytes, 1)), np.uint8)
        self.base = self.arena.ctypes.data
        self.args = plan.args.copy()
        self.args[plan.relocations] += self.base
        self.table = np.stack([plan.kernels, self.args.ctypes.data + 8 * plan.starts], axis=1)
        self.table_address = self.table.ctypes.data
        self.args[plan.rows] = self.table_address + ROW * plan.args[plan.rows]
        self.inputs: Mapping[str, np.ndarray] = {}
        self.outputs: Mapping[str, np.ndarray] = {}

    def bind(self, externals: tuple[External, ...], arrays: Mapping[str, np.ndarray]) -> None:
        """Point the arguments that read inputs or write outputs to the caller's arrays."""
        for external in externals:
            self.args[external.index] = address(arrays[external.name]) + external.offset


def address(array: np.ndarray) -> int:
    """Where the data of a contiguous array begin, in half the time that its own interface takes."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, empty, or of a dtype that buffers do not know
        return array.__array_interface__["data"][0]


def _pages(nbytes: int) -> mmap.mmap:
    """Zeroed pages that a forked child does not share."""
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows: no fork, and no flags
        return mmap.mmap(-1, nbytes)
    pages = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if nbytes >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return pages


class Plans(Generic[AnyPlan]):
    """Plans by batch size, made by ``build`` when first needed."""

    def __init__(self, build: Callable[[int], AnyPlan]) -> None:
        self._build = build
        self._plans: OrderedDict[int, AnyPlan] = OrderedDict()

    def plan(self, batch: int) -> AnyPlan:
        """The plan of a batch size; one that exists is had without waiting for others in the making."""
        try:
            self._plans.move_to_end(batch)
            return self._plans[batch]
        except KeyError:  # not planned yet, or dropped meanwhile
            pass
        with _planning:
            plan = self._plans.get(batch)
            if plan is None:
                plan = self._plans[batch] = self._build(batch)
                while len(self._plans) > PLANS:
                    self._plans.popitem(last=False)
            return plan


class Program(Plans[Plan]):
    """Plans by batch size, and contexts, reused between calls."""

    def __init__(self, build: Callable[[int], Plan], threads: int) -> None:
        super().__init__(build)
        self.threads = threads

    def run(
        self, batch: int, inputs: Mapping[str, np.ndarray], walk: Walk = driver.walk
    ) -> dict[str, np.ndarray]:
        """One inference; ``inputs`` are contiguous arrays of the right types. Safe from any thread."""
        plan = self.plan(batch)
        context = self.acquire(plan)
        try:
            return self.execute(plan, context, inputs, walk)
        finally:
            self.release(plan, context)

    @staticmethod
    def acquire(plan: Plan) -> Context:
        """A context that no other call uses: an idle one, or a new one."""
        try:
            return plan.pool.pop()
        except IndexError:
            return Context(plan)

    @staticmethod
    def release(plan: Plan, context: Context) -> None:
        """Give a context back; it lets go of the caller's arrays."""
        context.inputs = context.outputs = {}
        plan.pool.append(context)

    def execute(
        self, plan: Plan, context: Context, inputs: Mapping[str, np.ndarray], walk: Walk = driver.walk
    ) -> dict[str, np.ndarray]:
        """Run all steps in ``context``; its arena then holds what the last steps left."""
        outputs = {k: np.empty(shape, dtype) for k, (shape, dtype) in plan.results.items()}
        context.inputs, context.outputs = inputs, outputs
        context.bind(plan.inputs, inputs)
        context.bind(plan.outputs, outputs)
        for segment in plan.segments:
            if isinstance(segment, PythonCall):
                segment.function(context)
            else:
                first, last = segment
                walk(context.table_address + ROW * first, last - first, self.threads)
        return outputs
