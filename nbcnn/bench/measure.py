"""Measure engines side by side: one process each, blocks of calls in turn, the others asleep.

Spinning thread pools disturb each other, so nobody runs while another is measured; and machines
drift, so each engine's block stands between two of nbcnn's and is compared with those.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nbcnn.bench.engines import Arrays, Engine, Task
from nbcnn.bench.job import Progress, silent
from nbcnn.bench.remote import EngineFailed, Remote

BLOCK_S = 0.5
MIN_BLOCKS = 5


@dataclass(frozen=True, slots=True)
class Block:
    """Calls of one engine: latencies, and the time from one answer to the next, in nanoseconds."""

    engine: str
    latencies: tuple[int, ...]
    period: float


@dataclass(slots=True)
class Opened:
    """What an engine said when it had loaded the model, and its outputs.

    ``device_s`` is an inference by a GPU's clock.
    """

    engine: Engine
    version: str
    precision: str
    load_s: float
    compile_s: float
    outputs: Arrays = field(default_factory=dict)
    peak_rss_bytes: int = 0
    asleep: bool = True
    note: str = ""
    device_s: float | None = None


@dataclass(slots=True)
class Measured:
    """Engines in table order, the first being the one the others are compared with."""

    opened: list[Opened] = field(default_factory=list)
    timeline: list[Block] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    profile: list[dict[str, Any]] = field(default_factory=list)


def blocks_for(seconds: float) -> tuple[int, float]:
    """Blocks per engine and the length of each: at least MIN_BLOCKS, each at least BLOCK_S."""
    count = max(MIN_BLOCKS, int(seconds / BLOCK_S))
    return count, max(BLOCK_S, seconds / count)


def measure(
    engines: Sequence[Engine],
    task: Task,
    *,
    seconds: float,
    warmup: int = 10,
    profile: bool = False,
    progress: Progress = silent,
    block_s: float | None = None,
) -> Measured:
    """Measure ``engines``, the first against each of the others, ``seconds`` for each.

    An engine that fails is dropped and named in ``failed``; when the first one fails there is
    nothing to compare with and its EngineFailed goes to the caller. ``block_s`` shortens the
    blocks in tests.
    """
    count, length = blocks_for(seconds)
    length = block_s or length
    found = Measured()
    base = engines[0].name
    peers = len(engines) - 1
    steps = len(engines) + (2 * peers * count + 1 if peers else count)
    done = 0

    def advance(what: str) -> None:
        nonlocal done
        progress(what, done, steps)
        done += 1

    with ExitStack() as stack:
        workers: dict[str, Remote] = {}

        def drop(name: str, error: EngineFailed) -> None:
            if name == base:
                raise error
            found.failed[name] = str(error)
            workers.pop(name).close()

        for engine in engines:
            advance(f"{engine.name}: load and compile")
            workers[engine.name] = remote = stack.enter_context(Remote(engine, task))
            try:
                opened = Opened(engine, **remote.open())
                opened.outputs = _answer(remote, task)
                remote.ask("warm", calls=warmup)
                found.opened.append(opened)
            except EngineFailed as error:
                drop(engine.name, error)

        def block(name: str) -> None:
            advance(name)
            try:
                reply = workers[name].ask("block", 60 * length + 600, seconds=length)
                found.timeline.append(Block(name, tuple(reply["latencies"]), reply["period"]))
            except EngineFailed as error:
                drop(name, error)

        for _ in range(count):
            block(base)
            for i, peer in enumerate([name for name in workers if name != base]):
                if i:
                    block(base)
                block(peer)
        if len(workers) > 1:
            block(base)

        for opened in found.opened:
            if (remote := workers.get(opened.engine.name)) is None:
                continue
            try:
                opened.peak_rss_bytes = remote.ask("memory")["peak_rss_bytes"]
                opened.asleep = remote.asleep
                if task.target == "cuda":
                    opened.device_s = remote.ask("device")["seconds"]
            except EngineFailed as error:
                drop(opened.engine.name, error)
        if profile:
            found.profile = workers[base].ask("profile")["rows"]
    found.opened = [o for o in found.opened if o.engine.name not in found.failed]
    found.timeline = [b for b in found.timeline if b.engine not in found.failed]
    progress("done", steps, steps)
    return found


def _answer(remote: Remote, task: Task) -> Arrays:
    path = Path(task.folder, "answer.npz")
    names = remote.ask("answer", file=str(path))["names"]
    with np.load(path) as file:
        arrays = {name: file[f"arr_{i}"] for i, name in enumerate(names)}
    path.unlink()
    return arrays
