"""A program on a device: for each batch size a plan, for each call at a time a context: memory and graphs.

Knows neither networks nor operators: kernels, grids, arguments, places in memory. A plan's launches are one
CUDA graph (several where steps of Python stand between), made once a context; a call changes the arguments
that are in a caller's memory, starts the graph and copies what must be copied.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from nbcnn.runtime.cuda.arrays import DeviceArray, Lent
from nbcnn.runtime.cuda.cubin import Config
from nbcnn.runtime.cuda.launcher import Arg, Launch, Launcher, Span
from nbcnn.runtime.cuda.maps import Im2col, Tiled
from nbcnn.runtime.program import Plans

COPIES, ENOUGH = 32, 1e-4
"""A launch is timed in a row of so many of them, fewer if they take so many seconds together."""


@dataclass(frozen=True)
class Place:
    """Memory that there is once a context exists: ``nbytes`` from ``offset`` on.

    ``region`` is ``arena`` (without a ``name``), ``input`` or ``output``.
    """

    region: str
    name: str
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Call:
    """A launch whose arguments may be places, also within tensor maps."""

    config: Config
    grid: tuple[int, int, int]
    args: tuple[Any, ...]

    def places(self) -> Iterator[Place]:
        """The places among the arguments."""
        for arg in self.args:
            found = arg.address if isinstance(arg, Tiled | Im2col) else arg
            if isinstance(found, Place):
                yield found

    def at(self, address: Callable[[Place], int]) -> Launch:
        """The launch with each place at its address."""
        args = list(self.args)
        for i, code in self._placed:
            args[i] = _settled(args[i], code, address)
        return Launch(self.config, self.grid, tuple(args))

    @cached_property
    def _placed(self) -> list[tuple[int, str]]:
        """The arguments that depend on places, and their types: most are numbers."""
        codes = (code for _, code in self.config.params)
        pairs = enumerate(zip(self.args, codes, strict=True))
        return [(i, code) for i, (arg, code) in pairs if isinstance(arg, Place | Tiled | Im2col)]


def _settled(arg: Any, code: str, address: Callable[[Place], int]) -> Arg:
    if isinstance(arg, Tiled | Im2col):
        return replace(arg, address=_settled(arg.address, "u64", address))
    if not isinstance(arg, Place):
        return arg
    return Span(address(arg), arg.nbytes) if code.endswith("[]") else address(arg)


@dataclass(frozen=True)
class HostCall:
    """A step done in Python: ``function`` of arrays on the host; where they lie, and their types."""

    function: Callable[..., Sequence[np.ndarray]]
    inputs: tuple[tuple[Place | np.ndarray, tuple[int, ...], str], ...]
    constants: tuple[np.ndarray, ...]
    outputs: tuple[tuple[Place, tuple[int, ...], str], ...]


@dataclass(frozen=True, eq=False)
class DevicePlan:
    """Everything that is fixed for one batch size.

    ``segments`` are launches that make one graph, and calls of Python, in order; ``results`` the shape and
    dtype of each output; ``inputs`` the bytes of each input.
    """

    segments: tuple[tuple[Call, ...] | HostCall, ...]
    inputs: Mapping[str, int]
    results: Mapping[str, tuple[tuple[int, ...], np.dtype]]
    arena_bytes: int
    notes: Any = None
    pool: list[DeviceContext] = field(default_factory=list)


class DeviceContext:
    """The memory of one call at a time, on a stream of its own: an arena, graphs whose arguments lie there.

    Inputs and outputs of callers who have none on the device go through buffers of the context.
    """

    def __init__(self, launcher: Launcher, plan: DevicePlan) -> None:
        self.launcher, self.plan = launcher, plan
        self._held: list[Callable[[], None]] = []
        weakref.finalize(self, _let_go, self._held).atexit = False  # the process's end frees it as well
        self.stream = launcher.stream()
        self._held.append(lambda stream=self.stream: launcher.end_stream(stream))
        self.arena = self._allocate(max(plan.arena_bytes, 1))
        self._own: dict[tuple[str, str], int] = {}
        sizes = {("input", name): nbytes for name, nbytes in plan.inputs.items()}
        for name, (shape, dtype) in plan.results.items():
            sizes["output", name] = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self._sizes = sizes
        self._bound: dict[tuple[str, str], int] = {}
        self._users: dict[tuple[str, str], list[tuple[int, int]]] = {key: [] for key in sizes}
        self._graphs: dict[int, Any] = {}
        for i, segment in enumerate(plan.segments):
            for j, call in enumerate(segment if isinstance(segment, tuple) else ()):
                for place in {(p.region, p.name) for p in call.places() if p.region != "arena"}:
                    self._users[place].append((i, j))

    def own(self, region: str, name: str) -> int:
        """The address of the context's own buffer for an input or output."""
        key = region, name
        if key not in self._own:
            self._own[key] = self._allocate(max(self._sizes[key], 1))
        return self._own[key]

    def bind(self, addresses: Mapping[tuple[str, str], int]) -> None:
        """Where this call's inputs and outputs lie: arguments that point elsewhere are changed."""
        moved = {key for key, address in addresses.items() if self._bound.get(key) != address}
        self._bound |= addresses
        if not self._graphs:
            self._build()
            return
        for i, j in dict.fromkeys(user for key in moved for user in self._users[key]):
            segment = self.plan.segments[i]
            assert isinstance(segment, tuple)
            self.launcher.change(self._graphs[i], j, segment[j].at(self.address))

    def start(self) -> None:
        """Ask the stream for all segments in order; a step in Python waits for those before it."""
        for i, segment in enumerate(self.plan.segments):
            if isinstance(segment, HostCall):
                self._call(segment)
            else:
                self.launcher.start(self._graphs[i], self.stream)

    def address(self, place: Place) -> int:
        """Where a place lies in this call."""
        base = self.arena if place.region == "arena" else self._bound[place.region, place.name]
        return base + place.offset

    def read(self, place: Place, array: np.ndarray) -> np.ndarray:
        """Fill ``array`` from ``place``, once the stream has come there."""
        self.launcher.download(array, self.address(place), self.stream)
        self.launcher.synchronize(self.stream)
        return array

    def seconds(self, repeats: int) -> list[float]:
        """Seconds of each step by itself, in order: on the device by its clock, in Python with its copies."""
        found = []
        for segment in self.plan.segments:
            if isinstance(segment, HostCall):
                start = time.perf_counter()
                self._call(segment)
                self.launcher.synchronize(self.stream)
                found.append(time.perf_counter() - start)
                continue
            found += [self._seconds(call.at(self.address), repeats) for call in segment]
        return found

    def whole(self, repeats: int) -> float:
        """Seconds of all steps on the device, of one start to the next; steps in Python do not count."""
        graphs = self._graphs.values()
        return sum(self.launcher.seconds(graph, self.stream, repeats) for graph in graphs)

    def _seconds(self, launch: Launch, repeats: int) -> float:
        """Seconds of one launch: a short one in a row of many, faster than the host could start them."""
        once = self._timed([launch], 1)
        copies = max(1, min(COPIES, math.ceil(ENOUGH / max(once, 1e-9))))
        return self._timed([launch] * copies, repeats) / copies

    def _timed(self, launches: list[Launch], repeats: int) -> float:
        graph = self.launcher.graph(launches)
        try:
            return self.launcher.seconds(graph, self.stream, repeats)
        finally:
            self.launcher.end_graph(graph)

    def _allocate(self, nbytes: int) -> int:
        launcher, address = self.launcher, self.launcher.allocate(nbytes)
        self._held.append(lambda: launcher.free(address))
        return address

    def _build(self) -> None:
        launcher = self.launcher
        for i, segment in enumerate(self.plan.segments):
            if isinstance(segment, tuple):
                graph = self._graphs[i] = launcher.graph([call.at(self.address) for call in segment])
                self._held.append(lambda graph=graph: launcher.end_graph(graph))

    def _call(self, step: HostCall) -> None:
        operands = [
            place if isinstance(place, np.ndarray) else self.read(place, np.empty(shape, dtype))
            for place, shape, dtype in step.inputs
        ]
        results = step.function(*operands, *step.constants)
        for (place, shape, dtype), result in zip(step.outputs, results, strict=True):
            array = np.ascontiguousarray(np.broadcast_to(result, shape), dtype)
            self.launcher.upload(self.address(place), array, self.stream)


def _let_go(held: list[Callable[[], None]]) -> None:
    """Free the latest first: graphs before the memory that they use, the stream last."""
    while held:
        held.pop()()


class DeviceProgram(Plans[DevicePlan]):
    """Plans by batch size, and contexts, reused between calls. Safe from any thread."""

    def __init__(self, build: Callable[[int], DevicePlan], launcher: Launcher) -> None:
        super().__init__(build)
        self.launcher = launcher
        self.entry = launcher.stream()
        """Whoever lends an array makes it ready for this stream."""
        weakref.finalize(self, launcher.end_stream, self.entry).atexit = False

    def run(self, batch: int, inputs: Mapping[str, np.ndarray | Lent]) -> dict[str, Any]:
        """One inference, complete when it returns.

        Arrays of the host give arrays of the host; if any input is on the device, so are the outputs. A
        context in which something fails is not used again: arguments may be half changed, work under way.
        """
        plan = self.plan(batch)
        with self.launcher.session():
            context = self.acquire(plan)
            outputs = self.execute(plan, context, inputs)
            self.release(plan, context)
            return outputs

    def acquire(self, plan: DevicePlan) -> DeviceContext:
        """A context that no other call uses: an idle one, or a new one."""
        try:
            return plan.pool.pop()
        except IndexError:
            return DeviceContext(self.launcher, plan)

    @staticmethod
    def release(plan: DevicePlan, context: DeviceContext) -> None:
        """Give a context back."""
        plan.pool.append(context)

    def execute(
        self, plan: DevicePlan, context: DeviceContext, inputs: Mapping[str, np.ndarray | Lent]
    ) -> dict[str, Any]:
        """Run all steps in ``context``; its arena then holds what the last steps left."""
        launcher, stream = self.launcher, context.stream
        resident = any(not isinstance(value, np.ndarray) for value in inputs.values())
        addresses: dict[tuple[str, str], int] = {}
        for name, value in inputs.items():
            if isinstance(value, np.ndarray):
                addresses["input", name] = context.own("input", name)
                launcher.upload(addresses["input", name], value, stream)
            else:
                addresses["input", name] = value.address
        outputs: dict[str, Any] = {}
        for name, (shape, dtype) in plan.results.items():
            if resident:
                outputs[name] = DeviceArray.empty(launcher, shape, dtype)
                addresses["output", name] = outputs[name].address
            else:
                outputs[name] = np.empty(shape, dtype)
                addresses["output", name] = context.own("output", name)
        if resident:
            launcher.wait(stream, self.entry)
        context.bind(addresses)
        context.start()
        if not resident:
            for name, array in outputs.items():
                launcher.download(array, addresses["output", name], stream)
        # A context goes back to the pool, and lent inputs to their owner, when the device is done with them.
        launcher.synchronize(stream)
        return outputs
