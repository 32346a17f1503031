"""Plans and contexts of a device: places become addresses, graphs are made once, memory is let go."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import numpy as np
import pytest
from fake_launcher import FakeLauncher, Function

from nbcnn.errors import DeviceError
from nbcnn.runtime.cuda.arrays import DeviceArray, Lent
from nbcnn.runtime.cuda.maps import Tiled
from nbcnn.runtime.cuda.program import COPIES, Call, DevicePlan, DeviceProgram, HostCall, Place

F32 = np.dtype(np.float32)


def scale(x: np.ndarray, y: np.ndarray, n: int, by: float) -> None:
    y[:n] = x[:n] * by


SCALE = Function("scale", scale, (("x", "f32[]"), ("y", "f32[]"), ("n", "i32"), ("by", "f32")))


def doubled(batch: int, host: bool = False) -> DevicePlan:
    """out = 2 * (3 * x) over ``4 * batch`` elements; with ``host`` Python adds 1 in between."""
    n = 4 * batch
    x, out = Place("input", "x", 0, 4 * n), Place("output", "y", 0, 4 * n)
    a, b = Place("arena", "", 0, 4 * n), Place("arena", "", 4 * n, 4 * n)
    first = Call(SCALE, (1, 1, 1), (x, a, n, 3.0))
    last = Call(SCALE, (1, 1, 1), (b if host else a, out, n, 2.0))
    between = HostCall(lambda v: (v + np.float32(1),), ((a, (n,), "float32"),), (), ((b, (n,), "float32"),))
    segments = ((first,), between, (last,)) if host else ((first, last),)
    return DevicePlan(segments, {"x": 4 * n}, {"y": ((n,), F32)}, 8 * n)


@pytest.fixture
def launcher() -> FakeLauncher:
    return FakeLauncher()


def some(rng: np.random.Generator, n: int = 4) -> np.ndarray:
    return rng.standard_normal(n).astype(np.float32)


@pytest.mark.parametrize("host", [False, True])
def test_runs(launcher: FakeLauncher, rng: np.random.Generator, host: bool) -> None:
    program = DeviceProgram(lambda batch: doubled(batch, host), launcher)
    for batch in (1, 3, 1):
        x = some(rng, 4 * batch)
        (y,) = program.run(batch, {"x": x}).values()
        want = (x * np.float32(3) + np.float32(host)) * np.float32(2)
        np.testing.assert_array_equal(y, want)


def test_a_graph_is_made_once_and_nothing_changes_for_arrays_of_the_host(launcher, rng) -> None:
    program = DeviceProgram(doubled, launcher)
    for _ in range(5):
        program.run(1, {"x": some(rng)})
    assert (launcher.calls["graph"], launcher.calls["change"], launcher.calls["start"]) == (1, 0, 5)
    assert launcher.calls["upload"] == launcher.calls["download"] == 5


def lent(launcher: FakeLauncher, x: np.ndarray) -> Lent:
    """``x`` in memory of the device."""
    array = DeviceArray.empty(launcher, x.shape, x.dtype)
    launcher.upload(array.address, x, next(iter(launcher.streams)))
    return Lent(array.address, x.shape, x.dtype, array)


def test_arrays_of_the_device_are_not_copied(launcher, rng) -> None:
    program = DeviceProgram(doubled, launcher)
    program.run(1, {"x": some(rng)})
    x = some(rng)
    on_device = lent(launcher, x)
    before = launcher.calls.copy()
    y = program.run(1, {"x": on_device})["y"]
    assert isinstance(y, DeviceArray)
    assert launcher.calls["upload"] == before["upload"] and launcher.calls["download"] == before["download"]
    assert launcher.calls["change"] == 2, "one argument reads the input, one writes the output"
    assert [other for _, other in launcher.waits] == [program.entry]
    np.testing.assert_array_equal(y.numpy(), x * np.float32(3) * np.float32(2))
    again = program.run(1, {"x": lent(launcher, x)})["y"]
    assert again.address != y.address, "outputs belong to the caller"
    np.testing.assert_array_equal(y.numpy(), again.numpy())


def test_back_to_arrays_of_the_host(launcher, rng) -> None:
    program = DeviceProgram(doubled, launcher)
    program.run(1, {"x": lent(launcher, some(rng))})
    x = some(rng)
    np.testing.assert_array_equal(program.run(1, {"x": x})["y"], x * np.float32(6))


def test_places_in_tensor_maps(launcher) -> None:
    seen: list[Tiled] = []
    kernel = Function("maps", lambda m, y: seen.append(m), (("m", "map"), ("y", "u64")))
    tiled = Tiled(Place("input", "x", 16, 48), "f32", 4, (4, 4), (16,), (4, 4))
    plan = DevicePlan(((Call(kernel, (1, 1, 1), (tiled, Place("arena", "", 32, 32))),),), {"x": 64}, {}, 64)
    program = DeviceProgram(lambda batch: plan, launcher)
    x = lent(launcher, np.zeros(16, np.float32))
    program.run(1, {"x": x})
    assert seen[0].address == x.address + 16


def test_memory_is_let_go(launcher, rng) -> None:
    program = DeviceProgram(doubled, launcher)
    kept = program.run(1, {"x": lent(launcher, some(rng))})
    program.run(2, {"x": some(rng, 8)})
    del program
    gc.collect()
    assert [*launcher.alive] == [kept["y"].address] and launcher.streams == {1, 2} and not launcher.graphs
    del kept
    gc.collect()
    assert not launcher.alive


def test_plans_that_go_free_their_memory(launcher, rng) -> None:
    program = DeviceProgram(doubled, launcher)
    for batch in range(1, 40):
        program.run(batch, {"x": some(rng, 4 * batch)})
    gc.collect()
    assert len(launcher.graphs) == 16  # `nbcnn.runtime.program.PLANS`


def test_too_little_memory_leaves_nothing_behind(rng) -> None:
    launcher = FakeLauncher(memory=100)
    program = DeviceProgram(doubled, launcher)
    with pytest.raises(DeviceError, match="free on fake"):
        program.run(9, {"x": some(rng, 36)})
    gc.collect()
    assert not launcher.alive
    x = some(rng)
    np.testing.assert_array_equal(program.run(1, {"x": x})["y"], x * np.float32(6))


def test_calls_at_once_have_contexts_of_their_own(rng) -> None:
    inside, most, lock = 0, 0, threading.Lock()
    gate = threading.Barrier(2, timeout=10)

    def slow(x: np.ndarray, y: np.ndarray) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        gate.wait()
        y[:] = x
        with lock:
            inside -= 1

    copy = Function("copy", slow, (("x", "f32[]"), ("y", "f32[]")))
    places = Place("input", "x", 0, 16), Place("output", "y", 0, 16)
    plan = DevicePlan(((Call(copy, (1, 1, 1), places),),), {"x": 16}, {"y": ((4,), F32)}, 0)
    program = DeviceProgram(lambda batch: plan, FakeLauncher())
    found: dict[int, bool] = {}

    def call(i: int) -> Callable[[], None]:
        x = np.full(4, i, np.float32)
        return lambda: found.update({i: bool((program.run(1, {"x": x})["y"] == x).all())})

    threads = [threading.Thread(target=call(i)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: True, 1: True} and most == 2 and len(plan.pool) == 2


def test_a_context_that_fails_is_not_used_again(launcher, rng) -> None:
    fail = [True]

    def moody(x: np.ndarray, y: np.ndarray) -> None:
        if fail[0]:
            raise DeviceError("it failed")
        y[:] = x

    kernel = Function("moody", moody, (("x", "f32[]"), ("y", "f32[]")))
    places = Place("input", "x", 0, 16), Place("output", "y", 0, 16)
    plan = DevicePlan(((Call(kernel, (1, 1, 1), places),),), {"x": 16}, {"y": ((4,), F32)}, 0)
    program = DeviceProgram(lambda batch: plan, launcher)
    x = some(rng)
    with pytest.raises(DeviceError, match="it failed"):
        program.run(1, {"x": x})
    gc.collect()
    assert not plan.pool and not launcher.alive and not launcher.graphs
    fail[0] = False
    np.testing.assert_array_equal(program.run(1, {"x": x})["y"], x)
    assert len(plan.pool) == 1


def test_seconds_of_steps(launcher, rng) -> None:
    program = DeviceProgram(lambda batch: doubled(batch, host=True), launcher)
    plan = program.plan(1)
    context = program.acquire(plan)
    program.execute(plan, context, {"x": some(rng)})
    graphs = len(launcher.graphs)
    first, python, last = context.seconds(3)
    assert first == last == 1e-6 / COPIES and python > 0  # 1 us by the launcher's clock, of all copies
    assert len(launcher.graphs) == graphs
