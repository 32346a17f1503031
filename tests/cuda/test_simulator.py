"""The launcher's contract, on whatever device is there, and what only the simulator notices."""

from __future__ import annotations

import numpy as np
import pytest
import simple_kernels
from launch_plain import run

from nbcnn.errors import DeviceError
from nbcnn.kernels.cuda.configs import CONFIGS
from nbcnn.runtime.cuda import simulator
from nbcnn.runtime.cuda.launcher import Launch, Launcher, Span, simulated
from nbcnn.runtime.cuda.simt import STORAGE, Simt

only_simulated = pytest.mark.skipif(not simulated(), reason="a GPU does not notice")


def upload(launcher: Launcher, array: np.ndarray) -> int:
    address = launcher.allocate(array.nbytes)
    launcher.upload(address, array, 0)
    launcher.synchronize(0)
    return address


def test_memory(launcher: Launcher, rng: np.random.Generator) -> None:
    values = rng.standard_normal((3, 5)).astype(np.float32)
    address = upload(launcher, values)
    assert address % 256 == 0
    back = np.empty_like(values)
    stream = launcher.stream()
    launcher.wait(stream, 0)
    launcher.download(back, address, stream)
    launcher.synchronize(stream)
    np.testing.assert_array_equal(back, values)
    part = np.empty(5, np.float32)
    launcher.download(part, address + 20, stream)
    launcher.synchronize(stream)
    np.testing.assert_array_equal(part, values[1])
    launcher.end_stream(stream)
    launcher.free(address)


@only_simulated
def test_fresh_memory_is_poisoned(launcher: Launcher) -> None:
    address = launcher.allocate(16)
    found = np.zeros(4, np.float32)
    launcher.download(found, address, 0)
    assert np.isnan(found).all()
    launcher.free(address)


def test_too_much_memory(launcher: Launcher) -> None:
    with pytest.raises(DeviceError, match="free"):
        launcher.allocate(launcher.memory + 1)


@only_simulated
def test_memory_that_is_not_there(launcher: Launcher) -> None:
    address = launcher.allocate(64)
    with pytest.raises(DeviceError, match="not in one allocation"):
        launcher.upload(address + 4, np.zeros(64, np.uint8), 0)
    launcher.free(address)
    with pytest.raises(DeviceError, match="not in one allocation"):
        launcher.upload(address, np.zeros(1, np.uint8), 0)
    with pytest.raises(DeviceError, match="nothing is allocated"):
        launcher.free(address)


def test_launches_follow_each_other_and_change(launcher: Launcher, rng: np.random.Generator) -> None:
    values = rng.standard_normal(10).astype(np.float32)
    x, y, z = (upload(launcher, a) for a in (values, np.zeros_like(values), np.zeros_like(values)))
    kernel = simple_kernels.scale("f32")

    def launch(source: int, factor: float, result: int) -> Launch:
        return Launch(kernel, (2, 1, 1), (Span(source, 40), factor, Span(result, 40), 10))

    graph = launcher.graph([launch(x, 2.0, y), launch(y, 4.0, z)])
    stream, found = launcher.stream(), np.empty_like(values)
    for factor in (2.0, 0.5):
        launcher.start(graph, stream)
        launcher.download(found, z, stream)
        launcher.synchronize(stream)
        np.testing.assert_array_equal(found, values * np.float32(4 * factor))
        launcher.change(graph, 0, launch(x, 0.5, y))
    assert launcher.seconds(graph, stream, 3) > 0
    launcher.end_graph(graph)
    launcher.end_stream(stream)
    for address in (x, y, z):
        launcher.free(address)


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_kinds_round_to_nearest_even(kind: str) -> None:
    from nbcnn.kernels.cuda.packing import from_kind, to_kind

    halves = 1 + np.arange(16) * 2.0**-11  # halfway between two f16 and two bf16 now and then
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 65519.0, 65520.0, 1e-8, -6e-8, 3.3e38]
    values = np.array([*halves, *-halves * 1.25, *special], np.float32)
    exact = np.zeros(values.size, STORAGE[kind])
    with np.errstate(over="ignore"):
        run(simple_kernels.narrow(kind), 2, values, exact, values.size)
        np.testing.assert_array_equal(from_kind(kind, exact), from_kind(kind, to_kind(kind, values)))
    wide = np.zeros_like(values)
    run(simple_kernels.widen(kind), 2, exact, wide, values.size)
    np.testing.assert_array_equal(wide, from_kind(kind, exact))
    np.testing.assert_array_equal(np.signbit(wide[~np.isnan(wide)]), np.signbit(values[~np.isnan(values)]))


@only_simulated
@pytest.mark.parametrize("index, done", [(4, "written"), (-1, "written")])
def test_an_index_outside_is_an_error(index: int, done: str) -> None:
    with pytest.raises(DeviceError, match=f"store_at: .*index {index} of an array of 4 elements is {done}"):
        run(simple_kernels.store_at(), 1, np.zeros(4, np.float32), index)


@only_simulated
def test_a_block_waits_for_all_its_threads(rng: np.random.Generator) -> None:
    values = rng.standard_normal(12).astype(np.float32)
    found = np.zeros_like(values)
    run(simple_kernels.reverse_blocks(), 3, values, found)
    np.testing.assert_array_equal(found, values.reshape(3, 4)[:, ::-1].ravel())


@only_simulated
def test_a_missing_barrier_is_noticed(rng: np.random.Generator) -> None:
    """In every block: what the one before left in shared memory is gone."""
    values = rng.standard_normal(8).astype(np.float32)
    found = np.zeros_like(values)
    run(simple_kernels.reverse_blocks(barrier=False), 2, values, found)
    assert np.isnan(found[[0, 1, 4, 5]]).all()


@only_simulated
def test_one_thread_fails_while_others_wait() -> None:
    with pytest.raises(DeviceError, match=r"tid=\[3, 0, 0\].*index 3 of an array of 3 elements is read"):
        run(simple_kernels.reverse_blocks(), 1, np.zeros(3, np.float32), np.zeros(4, np.float32))
    values = np.ones(4, np.float32)
    run(simple_kernels.reverse_blocks(), 1, values, values)  # the device goes on


@only_simulated
def test_memory_is_given_back_from_under_an_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = simulator.Simulator()
    old = launcher.allocate(64)
    empty = np.empty

    def collected(*args: object) -> np.ndarray:  # as a finaliser may, whenever memory is collected
        monkeypatch.setattr(np, "empty", empty)
        launcher.free(old)
        return empty(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(np, "empty", collected)
    new = launcher.allocate(64)
    launcher.free(new)
    with pytest.raises(DeviceError, match="nothing is allocated"):
        launcher.free(old)


def test_wrong_arguments(launcher: Launcher) -> None:
    address, kernel = launcher.allocate(40), simple_kernels.scale("f32")
    span = Span(address, 40)
    cases: list[tuple[tuple, str]] = [
        ((span, 1.0, span), "4 arguments"),
        ((span, span, span, 10), "factor is f32"),
        ((span, 1.0, 7, 10), r"y is f32\[\]"),
        ((span, 1.0, span, 1 << 40), "does not fit"),
    ]
    if simulated():
        cases.append(((span, 1.0, Span(address, 44), 10), "not in one allocation"))
    for args, message in cases:
        with pytest.raises(DeviceError, match=message):
            launcher.graph([Launch(kernel, (1, 1, 1), args)])
    launcher.free(address)


@only_simulated
def test_tensor_cores_are_refused(launcher: Launcher) -> None:
    config = next(iter(CONFIGS.values()))
    with pytest.raises(DeviceError, match="do not run in the simulator"):
        launcher.graph([Launch(config, (1, 1, 1), (0,) * len(config.params))])


def test_a_kernel_is_its_record() -> None:
    assert simple_kernels.scale("f32") == simple_kernels.scale("f32") != simple_kernels.scale("f16")
    assert isinstance(simple_kernels.scale("f32"), Simt)
