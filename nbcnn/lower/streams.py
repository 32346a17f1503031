"""Several inferences of one model at a time: for many answers a second, rather than for each one soon."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any
from weakref import WeakSet

import numpy as np

from nbcnn.errors import NbcnnError
from nbcnn.runtime import driver
from nbcnn.runtime.driver import Walk
from nbcnn.runtime.team import Team

Outputs = np.ndarray | dict[str, np.ndarray]
"""What `Model.__call__` returns."""

AHEAD = 2
"""Requests that `Streams.map` has in flight for each stream: one that runs, one that waits."""


class Streams:
    """What `Model.streams` gives: ``count`` inferences at a time, each on ``threads`` threads of its own.

    They share the weights; each holds the memory of one call. Use it as a context manager, or `close` it.
    Safe from any thread. A forked child has streams of its own, and nothing of what waits in the parent.
    """

    def __init__(
        self,
        call: Callable[[tuple[Any, ...], Mapping[str, Any], Walk], Outputs],
        threads: int,
        count: int,
    ) -> None:
        self.threads = threads
        self.count = count
        self._call = call
        self._closed = False
        self._start()
        _living.add(self)

    def __call__(self, /, *args: Any, **named: Any) -> Outputs:
        """`Model.__call__` in this thread, once a stream is free: for a server that has threads already."""
        self._check_open()
        return self._run(args, named)

    def submit(self, /, *args: Any, **named: Any) -> Future[Outputs]:
        """The result of ``model(*args, **named)`` to come, or its exception.

        Requests wait their turn in a queue without a bound; ``cancel()`` takes one out of it. Inputs are not
        copied: leave them alone until the future is done. ``asyncio.wrap_future`` makes it awaitable.
        """
        self._check_open()
        return self._pool.submit(self._run, args, named)

    def map(self, *inputs: Iterable[Any]) -> Iterator[Outputs]:
        """The results for an iterable of values for each input of the model, in order.

        ``AHEAD * count`` requests at most are in flight, so the iterables may be endless; it ends with the
        shortest. The exception of a call is raised in its turn; then, or when the iterator is closed, the
        requests that wait are given up.
        """
        flying: deque[Future[Outputs]] = deque()
        try:
            for values in zip(*inputs, strict=False):
                flying.append(self.submit(*values))
                if len(flying) == AHEAD * self.count:
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()
        finally:
            for future in flying:
                future.cancel()

    def close(self, cancel: bool = False) -> None:
        """Wait for all requests, or ``cancel`` those that do not run yet; then end the threads."""
        self._closed = True
        self._pool.shutdown(cancel_futures=cancel)
        for team in self._teams:
            team.close()

    def __enter__(self) -> Streams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(cancel=error is not None)

    def _start(self) -> None:
        self._teams = [Team() for _ in range(self.count)] if self.threads > 1 else []
        self._idle: SimpleQueue[Walk] = SimpleQueue()
        for walk in [team.run for team in self._teams] or [driver.walk] * self.count:
            self._idle.put(walk)
        self._pool = ThreadPoolExecutor(self.count, "nbcnn-stream")

    def _run(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> Outputs:
        walk = self._idle.get()
        try:
            return self._call(args, named, walk)
        finally:
            self._idle.put(walk)

    def _check_open(self) -> None:
        if self._closed:
            raise NbcnnError("these streams are closed: take new ones from model.streams()")


_living: WeakSet[Streams] = WeakSet()


def _after_fork() -> None:
    for streams in list(_living):
        streams._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
