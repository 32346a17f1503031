"""Tiles picked by measurement: on a device of the tests, whose clock prefers whom it likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from nbcnn.errors import DeviceError
from nbcnn.kernels.cuda import tiles
from nbcnn.kernels.cuda.configs import CONFIGS
from nbcnn.kernels.cuda.problem import Conv, launch
from nbcnn.kernels.cuda.shapes import ConvMma, ConvWgmma, SplitReduce
from nbcnn.kernels.cuda.tiles import Tiles, fastest
from nbcnn.kernels.layouts import Address, Buffer
from nbcnn.kernels.steps import DeviceStep, Way
from nbcnn.runtime import store
from nbcnn.runtime.cuda.launcher import Launch

NAMES = (
    "f16_conv_mma_64x64x64_w32x32s4__sm80",
    "f16_conv_mma_32x64x64_w16x32s4__sm80",
    "f16_conv_wgmma_128x64x64_c2s8_im2col__sm90a",
    "f16_conv_mma_64x64x64_w32x32s4_split__sm80",
)
CONV = Conv(2, 9, 9, 128, 64, 3, 3, pads=(1, 1, 1, 1))


class Clock:
    """A launcher without a device: ``seconds_of`` the name of a kernel is its time; it keeps its books."""

    name, capability, multiprocessors, memory, shared_memory, threads = (
        "a GPU",
        (9, 0),
        132,
        1 << 30,
        227 << 10,
        256,
    )

    def __init__(self, seconds_of: Callable[[str], float]) -> None:
        self.seconds_of = seconds_of
        self.held: dict[int, int] = {}
        self.streams = self.graphs = self.timed = 0
        self.written: dict[int, int] = {}

    def allocate(self, nbytes: int) -> int:
        if sum(self.held.values()) + nbytes > self.memory:
            raise DeviceError("no memory")
        address = 256 * (1 + max([0, *(a + n for a, n in self.held.items())]) // 256)
        self.held[address] = nbytes
        return address

    def free(self, address: int) -> None:
        del self.held[address]

    def stream(self) -> int:
        self.streams += 1
        return 7

    def end_stream(self, stream: int) -> None:
        self.streams -= 1

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        start = max(a for a in self.held if a <= address)
        assert address + array.nbytes <= start + self.held[start]
        self.written[start] = self.written.get(start, 0) + array.nbytes
        assert np.isfinite(array.view(np.float16)).all() and np.abs(array.view(np.float16)).min() > 0

    def synchronize(self, stream: int) -> None:
        assert self.written == self.held

    def graph(self, launches: Sequence[Launch]) -> list[Launch]:
        for made in launches:
            for arg, (_, code) in zip(made.args, made.config.params, strict=True):
                at = arg.address if code == "map" else arg if code == "u64" else 0  # type: ignore[union-attr]
                assert not at or any(a <= at < a + n for a, n in self.held.items())
        self.graphs += 1
        return list(launches)

    def end_graph(self, graph: list[Launch]) -> None:
        self.graphs -= 1

    def seconds(self, graph: list[Launch], stream: int, repeats: int) -> float:
        self.timed += 1
        return sum(self.seconds_of(made.config.name) for made in graph)


def ways(conv: Conv = CONV) -> list[Way]:
    """The kernels of `NAMES`, as records emit them; the last is followed by its reduction."""
    x, out = Buffer("x", conv.n * conv.h * conv.w * conv.c * 2), Buffer("out", conv.m * conv.k * 2)
    w, bias = np.zeros((conv.k, 3, 3, conv.c), np.float16), np.zeros(conv.k, np.float32)
    address = {"x": Address(x), "out": Address(out), "w": w, "bias": bias}

    def steps(name: str) -> list[DeviceStep]:
        config = CONFIGS[name]
        assert isinstance(config, ConvMma | ConvWgmma)
        if isinstance(config, ConvWgmma) or not config.split:
            made = [launch(config, conv, address)]
        else:
            sums = Address(Buffer("sums", 2 * conv.m * conv.k * 4, purpose="scratch"))
            made = [
                launch(config, conv, address | {"out": sums}, splits=2),
                launch(SplitReduce("f16"), conv, address | {"partial": sums}, splits=2),
            ]
        return [DeviceStep("conv", m.config, m.grid, m.args) for m in made]  # type: ignore[arg-type]

    return [lambda name=name: steps(name) for name in NAMES]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBCNN_CACHE_DIR", str(tmp_path))


def picked(clock: Clock, conv: Conv = CONV) -> str:
    name = Tiles(clock).pick(ways(conv))[0].kernel.name
    assert not clock.held and not clock.streams and not clock.graphs
    return name


@pytest.mark.parametrize("wanted", NAMES)
def test_takes_the_fastest(wanted: str) -> None:
    assert (
        picked(Clock(lambda name: 2e-6 if name == wanted else 1e-9 if "reduce" in name else 5e-6)) == wanted
    )


def test_a_reduction_takes_time_too() -> None:
    assert (
        picked(Clock(lambda name: 4e-6 if "reduce" in name else 2e-6 if "split" in name else 5e-6))
        == NAMES[0]
    )


def test_the_first_stays_unless_another_is_clearly_faster() -> None:
    assert picked(Clock(lambda name: 1e-6)) == NAMES[0]
    assert fastest([1.0, 0.99, 1.01]) == 0 and fastest([1.0, 0.97, 0.9]) == 2


def test_failures_are_passed_over() -> None:
    def seconds(name: str) -> float:
        if name in NAMES[:2]:
            raise DeviceError("too much shared memory")
        return 3e-6 if "wgmma" in name else 2e-6

    assert picked(Clock(seconds)) == NAMES[2]  # the split takes two launches
    assert fastest([None, 2.0, 1.99]) == 1


def test_where_all_fail_the_first_is_taken_and_nothing_remembered() -> None:
    def broken(name: str) -> float:
        raise DeviceError("lost")

    assert picked(Clock(broken)) == NAMES[0]
    assert picked(Clock(lambda name: 1e-6 if "wgmma" in name else 5e-6)) == NAMES[2]


def test_without_memory_rules_decide() -> None:
    clock = Clock(lambda name: 1e-6 if "wgmma" in name else 5e-6)
    clock.memory = 1000
    assert picked(clock) == NAMES[0] and not clock.timed


def test_one_way_is_not_measured() -> None:
    clock = Clock(lambda name: 1e-6)
    assert Tiles(clock).pick(ways()[1:2])[0].kernel.name == NAMES[1] and not clock.timed


def test_short_kernels_are_timed_several_at_once() -> None:
    graphs: list[int] = []
    clock = Clock(lambda name: 1e-5)
    make = clock.graph
    clock.graph = lambda launches: graphs.append(len(launches)) or make(launches)  # type: ignore[method-assign]
    picked(clock)
    assert graphs == [1, 10, 1, 10, 1, 10, 2, 10]


def test_is_remembered() -> None:
    clock = Clock(lambda name: 1e-6 if "wgmma" in name else 5e-6)
    tuner = Tiles(clock)
    assert tuner.pick(ways())[0].kernel.name == NAMES[2]
    count = clock.timed
    assert count and tuner.pick(ways())[0].kernel.name == NAMES[2] and clock.timed == count  # in memory
    other = Clock(lambda name: 1e-6 if "split" in name else 5e-6)
    assert picked(other) == NAMES[2] and not other.timed  # on disk


@pytest.mark.parametrize(
    "change",
    [{"name": "another GPU"}, {"capability": (9, 1)}, {"multiprocessors": 114}],
    ids=lambda change: next(iter(change)),
)
def test_another_device_is_measured_anew(change: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    picked(Clock(lambda name: 1e-6 if "wgmma" in name else 5e-6))
    clock = Clock(lambda name: 1e-6 if name == NAMES[1] else 5e-6)
    vars(clock).update(change)
    assert picked(clock) == NAMES[1] and clock.timed


def test_another_problem_or_compiler_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    picked(Clock(lambda name: 1e-6 if "wgmma" in name else 5e-6))
    second = Clock(lambda name: 1e-6 if name == NAMES[1] else 5e-6)
    assert picked(second, Conv(1, 9, 9, 128, 64, 3, 3, pads=(1, 1, 1, 1))) == NAMES[1]
    monkeypatch.setattr(tiles.cubin, "tools", lambda: ("numba 99",))
    assert picked(Clock(lambda name: 1e-6 if name == NAMES[1] else 5e-6)) == NAMES[1]


@pytest.mark.parametrize(
    "kept", [b"", b"[1.0]", b'{"a": 1}', b"[1.0, 2.0, -3.0, 4.0]", b"[null, null, null, null]", b"[[1,"]
)
def test_what_is_kept_is_checked(kept: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "read", lambda name, key: kept)
    clock = Clock(lambda name: 1e-6 if "wgmma" in name else 5e-6)
    assert picked(clock) == NAMES[2] and clock.timed


def test_rules_decide_in_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(lambda name: 1e-6 if "wgmma" in name else 5e-6)
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert tiles.picker(clock)(ways())[0].kernel.name == NAMES[0]
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "0")
    assert tiles.picker(clock)(ways())[0].kernel.name == NAMES[2]
