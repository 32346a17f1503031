"""The choice between several ways to compute a step, by measuring them on the device on first use.

What was measured is remembered in the kernel cache, under all that it depends on: the kernels' sources and
the compilers, grids and arguments but for addresses, the device. Memory holds noise while ways are timed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from nbcnn.errors import NbcnnError
from nbcnn.kernels.layouts import Address, Buffer
from nbcnn.kernels.steps import DeviceStep, Way, first_way
from nbcnn.runtime import store
from nbcnn.runtime.cuda import cubin
from nbcnn.runtime.cuda.launcher import Launch, Launcher, Span, simulated
from nbcnn.runtime.cuda.maps import Im2col, Tiled
from nbcnn.runtime.forks import ForkSafeLock

MARGIN = 0.02
"""By so much a way must be faster than the one that rules put first, or that one stays."""

ENOUGH, COPIES, REPEATS = 100e-6, 20, 5
"""Seconds that a timed graph should take, how often it holds a way for that at most, how often it runs."""

NOISE = 16 << 20
"""Bytes of noise, repeated where more is wanted."""

_measuring = ForkSafeLock()  # one at a time: they would disturb each other

Pick = Callable[[Sequence[Way]], Sequence[DeviceStep]]


def picker(launcher: Launcher) -> Pick:
    """What decides on ``launcher``: measurements, or rules in the simulator, whose times mean nothing."""
    return first_way if simulated() else Tiles(launcher).pick


class Tiles:
    """Picks the fastest way on one device. Safe from any thread."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._known: dict[str, int] = {}

    def pick(self, ways: Sequence[Way]) -> Sequence[DeviceStep]:
        """The steps of the fastest of ``ways``; a way that fails is passed over.

        The first stays unless another is clearly faster, and where all fail: who runs it learns why.
        """
        if len(ways) == 1:
            return ways[0]()
        made = [way() for way in ways]
        key = self._key(made)
        with _measuring:
            if key not in self._known:
                self._known[key] = self._fastest(key, made)
        return made[self._known[key]]

    def _fastest(self, key: str, made: list[Sequence[DeviceStep]]) -> int:
        times = remembered(key, len(made))
        if times is None:
            times = self._measured(made)
            if any(t is not None for t in times):
                store.write("tile", key, json.dumps(times).encode())
        return fastest(times)

    def _measured(self, made: list[Sequence[DeviceStep]]) -> list[float | None]:
        """Seconds of each way; None for one that fails, and for all where memory is short."""
        times: list[float | None] = [None] * len(made)
        with suppress(NbcnnError), self._memory(made) as address:
            for i, steps in enumerate(made):
                with suppress(NbcnnError):
                    times[i] = self._seconds([placed(step, address) for step in steps])
        return times

    def _seconds(self, launches: list[Launch]) -> float:
        launcher = self._launcher
        stream = launcher.stream()
        try:
            once = self._timed(launches, stream, 1)  # the first run also warms up
            copies = max(1, min(COPIES, math.ceil(ENOUGH / max(once, 1e-9))))
            return self._timed(launches * copies, stream, REPEATS) / copies
        finally:
            launcher.end_stream(stream)

    def _timed(self, launches: list[Launch], stream: int, repeats: int) -> float:
        graph = self._launcher.graph(launches)
        try:
            return self._launcher.seconds(graph, stream, repeats)
        finally:
            self._launcher.end_graph(graph)

    @contextmanager
    def _memory(self, made: list[Sequence[DeviceStep]]) -> Iterator[Callable[[Any], Span]]:
        """Device memory for all that the steps touch: a function from an operand to where it lies."""
        launcher, stream = self._launcher, self._launcher.stream()
        sizes = {id(place): place.nbytes for steps in made for step in steps for place in _places(step)}
        found: dict[int, int] = {}
        noise = _noise(min(NOISE, max(sizes.values(), default=0)))
        try:
            for key, nbytes in sizes.items():
                found[key] = launcher.allocate(max(nbytes, 1))
                for start in range(0, nbytes, len(noise)):
                    launcher.upload(found[key] + start, noise[: nbytes - start], stream)
            launcher.synchronize(stream)

            def address(operand: Address | np.ndarray) -> Span:
                place, offset = (
                    (operand, 0) if isinstance(operand, np.ndarray) else (operand.buffer, operand.offset)
                )
                return Span(found[id(place)] + offset, place.nbytes - offset)

            yield address
        finally:
            for at in found.values():
                launcher.free(at)
            launcher.end_stream(stream)

    def _key(self, made: list[Sequence[DeviceStep]]) -> str:
        launcher = self._launcher
        device = (launcher.name, launcher.capability, launcher.multiprocessors)
        steps = [
            [
                (cubin.key(s.kernel, launcher.capability), s.grid, [_unplaced(a) for a in s.args])
                for s in steps
            ]
            for steps in made
        ]
        return hashlib.sha256(repr((device, steps)).encode()).hexdigest()


def fastest(times: Sequence[float | None]) -> int:
    """The way to take: the first that works, unless another is faster by more than `MARGIN`."""
    working = [i for i, t in enumerate(times) if t is not None]
    if not working:
        return 0
    best = min(working, key=lambda i: times[i] or 0.0)
    first = working[0]
    return best if (times[best] or 0.0) < (1 - MARGIN) * (times[first] or 0.0) else first


def remembered(key: str, count: int) -> list[float | None] | None:
    """The times of ``count`` ways that were written under ``key``; None if there are none, or others."""
    try:
        found = json.loads(store.read("tile", key) or b"null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or len(found) != count or all(t is None for t in found):
        return None
    sound = all(t is None or (isinstance(t, float) and 0 <= t < math.inf) for t in found)
    return found if sound else None


def _places(step: DeviceStep) -> Iterator[Buffer | np.ndarray]:
    """The buffers and arrays that a step touches."""
    for arg in step.args:
        operand = arg.address if isinstance(arg, Tiled | Im2col) else arg
        if isinstance(operand, Address):
            yield operand.buffer
        elif isinstance(operand, np.ndarray):
            yield operand


def placed(step: DeviceStep, address: Callable[[Any], Span]) -> Launch:
    """The launch of a step whose operands lie where ``address`` says."""

    def place(arg: Any, code: str) -> Any:
        if isinstance(arg, Tiled | Im2col):
            return replace(arg, address=place(arg.address, "u64"))
        if not isinstance(arg, Address | np.ndarray):
            return arg
        span = address(arg)
        return span if code.endswith("[]") else span.address

    codes = (code for _, code in step.kernel.params)
    return Launch(step.kernel, step.grid, tuple(place(a, c) for a, c in zip(step.args, codes, strict=True)))


def _unplaced(arg: Any) -> Any:
    """An argument without its address, which is another one each time."""
    if isinstance(arg, Tiled | Im2col):
        return replace(arg, address=0)
    return "address" if isinstance(arg, Address | np.ndarray) else arg


def _noise(nbytes: int) -> np.ndarray:
    """Bytes that are small finite numbers, of both signs, in any type of floats."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 16, -(-nbytes // 2), np.uint16, endpoint=False)
    return ((words & 0x81FF) | 0x3C00).view(np.uint8)[:nbytes]
