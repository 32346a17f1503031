"""Places where a value lies otherwise than a kernel might take for granted."""

from __future__ import annotations

import numpy as np
import pytest
from conformance import excesses, inputs_of
from strategies import Builder

import nbcnn
from nbcnn import reference
from nbcnn.errors import NbcnnError, OptionError
from nbcnn.ir import Graph, Node, TensorType
from nbcnn.kernels.base import Store
from nbcnn.kernels.cpu import packing
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.fused import Body, Fused
from nbcnn.ops.reshape import Flatten


def check(graph: Graph, batch: int = 2) -> None:
    inputs = inputs_of(graph, batch)
    model = nbcnn.compile(graph, threads=1, keep_values=True)
    assert max(excesses(model, inputs).values()) <= 1
    outputs = nbcnn.compile(graph, threads=1)(**inputs)
    outputs = outputs if isinstance(outputs, dict) else {next(iter(graph.outputs)): outputs}
    for name, expected in reference.run(graph, inputs, dtype=np.float64).items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [3, 16])
def test_convolution_with_its_own_input_added(channels: int) -> None:
    build = Builder()
    x = build.input(channels, 6, 5)
    y = build("sum", Add(), build("conv", Conv2d(channels, 3, padding=1), x), x)
    check(build.graph(build("act", Relu(), y)))


def test_dense_with_its_own_flattened_input_added() -> None:
    build = Builder()
    rows = build("flat", Flatten(), build("conv", Conv2d(5, 1), build.input(3, 2, 3)))
    build.weight("w", build.rng.normal(size=(30, 30)) / 6)
    dense = Node("dense", Dense(30, bias=False), (rows, "w"), ("dense",))
    total = Node("sum", Add(), ("dense", rows), ("sum",))
    build.nodes.append(
        Node("sum", Fused(Body((rows,), ("w",), (dense, total), ("sum",))), (rows, "w"), ("sum",))
    )
    check(build.graph("sum"))


@pytest.mark.parametrize("first", ["fixed", "open"])
def test_inputs_with_and_without_a_batch(first: str) -> None:
    build = Builder()
    types = {"fixed": TensorType((1, 3, 8, 8)), "open": TensorType(("N", 3, 8, 8))}
    build.inputs = {name: types[name] for name in sorted(types, key=lambda name: name != first)}
    build.types |= types
    graph = build.graph(build("a", Conv2d(4, 3), "fixed"), build("b", Conv2d(4, 3), "open"))
    with pytest.warns(UserWarning, match="no kernel yet for a"):
        check(graph, batch=5)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8"])
def test_other_types_than_float32(dtype: str) -> None:
    build = Builder(dtype)
    x = build.input(3, 3, 3)
    graph = build.graph({"y": build("sum", Add(), build("twice", Add(), x, x), x), "same": x})
    with pytest.warns(UserWarning, match="no kernel yet") as caught:
        model = nbcnn.compile(graph, threads=1, keep_values=True)
    assert caught[0].filename == __file__, "it points to whoever asked"
    array = np.arange(54).reshape(2, 3, 3, 3).astype(dtype)
    outputs = model(array)
    assert {a.dtype.name for a in outputs.values()} == {dtype}
    np.testing.assert_array_equal(outputs["y"], array * array.dtype.type(3))
    np.testing.assert_array_equal(outputs["same"], array)
    np.testing.assert_array_equal(model.tap(array)["twice"], array + array)
    assert len(model.profile(array, repeats=2)) == len(model.explain(2)) == 4


def test_offset_tables_have_limits() -> None:
    def table(size: int, kernel: int) -> np.ndarray:
        window = packing.Window((size,) * 2, (8, 8), (kernel,) * 2, (1, 1), (1, 1), (0, 0), (size, 1))
        return packing.table(window, 8, Store())

    with pytest.raises(NbcnnError, match="32 bits"):
        table(1 << 16, 3)
    with pytest.raises(NbcnnError, match="over the limit"):
        table(1 << 13, 1 << 13)
    with pytest.raises(NbcnnError, match="32 bits"):
        packing.linear_table(13, 1 << 28, (0,), Store())


def test_offset_tables() -> None:
    window = packing.Window((4, 3), (2, 2), (3, 2), (2, 1), (1, 2), (1, 0), (30, 10))
    found = packing.table(window, 3, Store())
    assert found.shape == (2, 6, 3)
    for place in range(6):
        i, j = divmod(min(place, 3), 2)
        for tap in range(6):
            y, x = i * 2 - 1 + tap // 2, j + tap % 2 * 2
            want = y * 30 + x * 10 if 0 <= y < 4 and 0 <= x < 3 else packing.OUTSIDE
            assert found[place // 3, tap, place % 3] == want


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(OptionError, match=r"nbcnn\.load\('digits'\)"):
        nbcnn.compile("digits")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="NoneType"):
        nbcnn.save(None, "x.yaml")  # type: ignore[arg-type]


def test_an_input_may_have_any_name() -> None:
    build = Builder()
    graph = build.graph(build("act", Relu(), build.input(3, name="self")))
    assert nbcnn.compile(graph, threads=1)(**{"self": np.ones((1, 3), np.float32)}).sum() == 3


@pytest.mark.parametrize("batch", [2, 40])
def test_long_rows_need_no_memory_for_rows_that_are_not_there(batch: int) -> None:
    build = Builder()
    graph = build.graph(build("dense", Dense(8), build.input(1 << 14)))
    memory = nbcnn.compile(graph, threads=1).memory(batch)
    assert memory.arena < 2 * memory.live_peak
    check(graph, batch)
