"""Several inferences at a time: answers, order, exceptions, cancelling, closing, forks, memory."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from strategies import Builder

import nbcnn
from nbcnn.errors import InputError, NbcnnError, OptionError
from nbcnn.lower.streams import AHEAD, Streams
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Sub
from nbcnn.ops.conv2d import Conv2d
from nbcnn.runtime.program import Context, Plan


@pytest.fixture(scope="module", params=(1, 2))
def model(request) -> nbcnn.Model:
    build = Builder()
    x = build("conv", Conv2d(8, 3, padding=1), build.input(3, 8, 8))
    return nbcnn.compile(build.graph(build("relu", Relu(), x)), threads=request.param)


def images(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1 + i % 3, 3, 8, 8), np.float32) for i in range(count)]


class Gate:
    """Stands for a model: calls, but those of 0, wait until it is open; counts those inside."""

    def __init__(self, threads: int = 1, count: int = 2) -> None:
        self.open = threading.Event()
        self.lock = threading.Lock()
        self.inside = self.most = self.calls = 0
        self.streams = Streams(self.call, threads, count)

    def call(self, args, named, walk):
        with self.lock:
            self.calls += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert args[0] == 0 or self.open.wait(20)
        with self.lock:
            self.inside -= 1
        return args[0]

    def wait_for(self, inside: int) -> None:
        end = time.monotonic() + 20
        while self.inside < inside:
            assert time.monotonic() < end
            time.sleep(0.001)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()
    gate.streams.close()


def test_answers_are_the_models(model) -> None:
    xs = images(40)
    expected = [model(x) for x in xs]
    with model.streams(3) as streams:
        mapped = list(streams.map(xs))
        futures = [streams.submit(x) for x in xs]
        named = streams.submit(x=xs[1])
        direct = streams(xs[2])
        for want, got, future in zip(expected, mapped, futures, strict=True):
            np.testing.assert_array_equal(got, want)
            np.testing.assert_array_equal(future.result(), want)
        np.testing.assert_array_equal(named.result(), expected[1])
        np.testing.assert_array_equal(direct, expected[2])


def test_many_threads_submit_and_call(model) -> None:
    xs = images(6)
    expected = [model(x) for x in xs]
    wrong: list[int] = []

    def client(i: int, streams: Streams) -> None:
        for _ in range(30):
            for y in (streams.submit(xs[i]).result(), streams(xs[i])):
                if not np.array_equal(y, expected[i]):
                    wrong.append(i)

    with model.streams(2) as streams:
        clients = [threading.Thread(target=client, args=(i, streams)) for i in range(6)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
    assert not wrong


def test_a_model_of_two_inputs() -> None:
    build = Builder()
    x, y = build.input(3, name="x"), build.input(3, name="y")
    model = nbcnn.compile(build.graph(build("d", Sub(), x, y)), threads=1)
    xs, ys = ([np.full((1, 3), k * i, np.float32) for i in range(5)] for k in (3, 1))
    with model.streams(2) as streams:
        assert [d.tolist() for d in streams.map(xs, ys)] == [[[2.0 * i] * 3] for i in range(5)]


def test_an_exception_is_in_the_future_and_the_stream_goes_on(model) -> None:
    good = images(1)[0]
    with model.streams(1) as streams:
        bad = streams.submit(good[0])
        assert isinstance(bad.exception(), InputError)
        np.testing.assert_array_equal(streams.submit(good).result(), model(good))
        results = streams.map([good, good[0], good])
        next(results)
        with pytest.raises(InputError, match="shape"):
            next(results)
        with pytest.raises(InputError, match="shape"):
            streams(good[0])
        np.testing.assert_array_equal(streams(good), model(good))


def test_as_many_at_once_as_there_are_streams(gate) -> None:
    futures = [gate.streams.submit(i) for i in range(1, 7)]
    callers = [threading.Thread(target=gate.streams, args=(i,)) for i in range(1, 4)]
    for caller in callers:
        caller.start()
    gate.wait_for(2)
    time.sleep(0.02)
    assert gate.inside == 2
    gate.open.set()
    assert [future.result() for future in futures] == list(range(1, 7))
    for caller in callers:
        caller.join()
    assert gate.most == 2


def test_map_takes_a_few_ahead_and_no_more(gate) -> None:
    gate.open.set()
    counter = itertools.count()
    results = gate.streams.map(counter)
    assert next(results) == 0
    assert [next(results) for _ in range(50)] == list(range(1, 51))
    assert next(counter) == 51 + AHEAD * 2 - 1
    results.close()


def test_leaving_map_gives_up_what_waits(gate) -> None:
    results = gate.streams.map(range(100))
    assert next(results) == 0
    gate.wait_for(2)
    results.close()
    gate.open.set()
    gate.streams.close()
    assert gate.calls == 3


def test_cancel_takes_a_request_out_of_the_queue(gate) -> None:
    running = [gate.streams.submit(i) for i in (1, 2)]
    gate.wait_for(2)
    waiting = gate.streams.submit(3)
    assert waiting.cancel()
    assert not running[0].cancel()
    gate.open.set()
    gate.streams.close()
    assert gate.calls == 2
    assert waiting.cancelled()


def test_close_waits_and_ends_the_threads(model) -> None:
    before = set(threading.enumerate())
    streams = model.streams(2)
    futures = [streams.submit(x) for x in images(20)]
    streams.close()
    streams.close()
    assert all(future.done() and not future.cancelled() for future in futures)
    assert set(threading.enumerate()) == before
    for call in (streams, streams.submit, lambda x: next(streams.map([x]))):
        with pytest.raises(NbcnnError, match="closed"):
            call(images(1)[0])
    model(images(1)[0])


def test_leaving_by_an_exception_cancels_what_waits(gate) -> None:
    futures = []

    def work() -> None:
        with gate.streams:
            futures.extend(gate.streams.submit(i) for i in range(1, 6))
            gate.wait_for(2)
            threading.Timer(0.05, gate.open.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert [future.cancelled() for future in futures] == [False, False, True, True, True]


def test_memory_is_one_context_for_each_stream(model, monkeypatch) -> None:
    made: list[Context] = []
    make = Context.__init__

    def counted(self: Context, plan: Plan) -> None:
        made.append(self)
        make(self, plan)

    monkeypatch.setattr(Context, "__init__", counted)
    x = np.ones((7, 3, 8, 8), np.float32)  # a batch that no other test has
    with model.streams(2) as streams:
        for _ in streams.map([x] * 200):
            pass
    assert 1 <= len(made) <= 2


def test_it_can_be_awaited(model) -> None:
    xs = images(8)

    async def serve() -> list[np.ndarray]:
        with model.streams(2) as streams:
            return await asyncio.gather(*(asyncio.wrap_future(streams.submit(x)) for x in xs))

    for x, y in zip(xs, asyncio.run(serve()), strict=True):
        np.testing.assert_array_equal(y, model(x))


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "2", 5000])
def test_wrong_counts_are_refused(model, count) -> None:
    with pytest.raises(OptionError, match="streams must be a whole number"):
        model.streams(count)


def test_the_default_fills_the_machine(model, monkeypatch) -> None:
    monkeypatch.setattr("nbcnn.lower.model.default_threads", lambda: 5)
    with model.streams() as streams:
        assert streams.count * model.threads in (5, 4)
    monkeypatch.setattr("nbcnn.lower.model.default_threads", lambda: 1)
    with model.streams() as streams:
        assert streams.count == 1


def _in_child(streams: Streams, x: np.ndarray, queue) -> None:
    queue.put((streams.submit(x).result(), streams(x), next(streams.map([x]))))
    streams.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_streams_of_its_own(model) -> None:
    x = images(1)[0]
    with model.streams(2) as streams:
        list(streams.map([x] * 10))
        queue = multiprocessing.get_context("fork").Queue()
        child = multiprocessing.get_context("fork").Process(target=_in_child, args=(streams, x, queue))
        child.start()
        for y in queue.get(timeout=20):
            np.testing.assert_array_equal(y, model(x))
        child.join(timeout=20)
        assert child.exitcode == 0
        np.testing.assert_array_equal(streams.submit(x).result(), model(x))
