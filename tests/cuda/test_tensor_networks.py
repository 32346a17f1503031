"""Whole networks whose convolutions run on tensor cores: in the emulator beside the simulator, or on a GPU.

Each node is held to float64 within the bound that follows from the precision, given what it read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conformance import excesses, inputs_of
from cuda_emulator.launcher import Emulated
from launch_plain import device
from strategies import Builder
from tensor_bounds import STORED

import nbcnn
from nbcnn import reference
from nbcnn.ir import Graph
from nbcnn.kernels.cuda import choose
from nbcnn.kernels.cuda.shapes import ConvMma, ConvWgmma
from nbcnn.lower.device_build import compile_graph
from nbcnn.ops.activation import HardSwish, Relu, Silu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.reshape import Flatten
from nbcnn.options import CompileOptions
from nbcnn.runtime.cuda.launcher import Launcher, simulated

pytestmark = pytest.mark.filterwarnings("ignore:no kernel yet")

CLOSE = {"float16": 0.01, "bfloat16": 0.06, "tf32": 0.01, "3xtf32": 1e-5}
"""Of the largest output: how far a whole network may be off."""

NETWORKS = ["lenet5", "digits", "cifar_cnn"]
QUICK = [
    *("lenet5 float16 8.0", "digits bfloat16 9.0", "digits tf32 8.0", "digits 3xtf32 9.0"),
    "cifar_cnn float16 9.0",
]


def gpu(capability: tuple[int, int]) -> Launcher:
    return Emulated(capability) if simulated() else device()


def check(network: str | Graph, precision: str, capability: tuple[int, int], batch: int = 1) -> list[str]:
    """Compile and run a network; the kernels' names."""
    graph = nbcnn.optimize(nbcnn.load(network) if isinstance(network, str) else network)
    options = CompileOptions(precision=precision, keep_values=True)
    model = compile_graph(graph, options, launcher=gpu(capability))
    families = {choice.kernel.name for choice in model.choices if choice.site.macs}
    assert families <= {"tensor_conv", "tensor_stem", "tensor_dense", "tensor_depthwise"}, families
    inputs = inputs_of(graph, batch)
    found = excesses(model, inputs, STORED.get(precision, 0.0))
    assert max(found.values()) <= 1, found
    wanted = reference.run(graph, inputs, np.float64)
    for output, got in model.run(inputs).items():
        size = np.abs(wanted[output]).max()
        assert np.abs(got - wanted[output]).max() <= CLOSE[precision] * size
    return [row.kernel for row in model.explain(batch)]


@pytest.mark.parametrize("case", QUICK)
def test_close_to_float64(case: str) -> None:
    name, precision, version = case.split()
    check(name, precision, (int(version[0]), int(version[2])))


@pytest.mark.slow
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=["8.0", "9.0"])
@pytest.mark.parametrize("precision", CLOSE)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_precision(name: str, precision: str, capability: tuple[int, int]) -> None:
    check(name, precision, capability, batch=2)


def preferring(wanted: Callable[[choose.Tile], bool]) -> Callable[..., float]:
    """An estimate by which such tiles win, the smallest of them first."""
    return lambda tile, conv, target: tile.config.bm * tile.config.bn * (1 if wanted(tile) else 1e6)


@pytest.mark.parametrize("precision", ["float16", "3xtf32"])
def test_wgmma(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "seconds", preferring(lambda t: isinstance(t.config, ConvWgmma)))
    names = check("digits", precision, (9, 0), batch=3)
    assert sum("wgmma" in name for name in names) == 3, names


@pytest.mark.parametrize("precision", ["bfloat16", "tf32"])
def test_split_sums(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "seconds", preferring(lambda t: t.splits > 1))
    names = check("digits", precision, (8, 0))
    assert any("split_reduce" in name for name in names), names


def branches() -> Graph:
    """Convolutions that read and write slots of concatenations, parts of a split, and what is added."""
    build = Builder()
    x = build("stem", Conv2d(32, 3, stride=2, padding=1), build.input(3, 13, 11))
    left = build("left.act", Relu(), build("left", Conv2d(16, 1), x))
    right = build("right.act", Silu(), build("right", Conv2d(24, 3, padding=1), x))
    whole = build("joined", Concat(), left, right)
    deep = build("deep.act", HardSwish(), build("deep", Conv2d(40, 3, padding=1, groups=40), whole))
    sum_ = build("sum", Add(), build("mixed", Conv2d(40, 3, padding=1, groups=5), deep), whole)
    last = build("last", Conv2d(8, 1), build("sum.act", Relu(), sum_))
    return build.graph(build("fc", Dense(10), build("flat", Flatten(), last)))


@pytest.mark.parametrize(
    "precision, capability, winner",
    [
        ("float16", (9, 0), lambda t: isinstance(t.config, ConvWgmma)),
        ("bfloat16", (8, 0), lambda t: t.splits > 1),
        ("tf32", (9, 0), lambda t: isinstance(t.config, ConvMma)),
        ("3xtf32", (8, 0), lambda t: t.splits == 1),
    ],
    ids=CLOSE,
)
def test_slots_and_sums(precision: str, capability, winner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "seconds", preferring(winner))
    names = check(branches(), precision, capability, batch=2)
    assert not any("_move" in name or "copy" in name for name in names[1:-1]), (
        names
    )  # nothing was copied together
