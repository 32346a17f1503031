"""Chains of layers computed strip by strip: the same bits, less memory, and no chain where none may be."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from conformance import inputs_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import Builder

import nbcnn
from nbcnn.errors import InputError, OptionError
from nbcnn.ir import Graph
from nbcnn.lower import strips
from nbcnn.lower.build import compile_graph
from nbcnn.lower.model import Model
from nbcnn.ops.activation import Relu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.options import CompileOptions
from nbcnn.runtime import codecache
from nbcnn.target import detect


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chain pays, the longer the more."""
    monkeypatch.setattr(strips, "_saved", lambda links, _: len(links) ** 2)


def compiled(graph: Graph, threads: int = 1, strips: bool = True, l2: int = 1 << 16, **options) -> Model:
    """For a machine whose caches hold a few rows."""
    target = replace(detect(), l2=l2)
    return compile_graph(graph, CompileOptions(threads=threads, strips=strips, **options), target=target)


def chains(model: Model, batch: int = 1) -> list[list[str]]:
    """The nodes of each step that computes several."""
    found: dict[int, list[str]] = {}
    for row in model.explain(batch):
        if row.strips:
            found.setdefault(row.index, []).append(row.node)
    return list(found.values())


def block(build: Builder, x: str, name: str, out: int = 8, stride: int = 1) -> str:
    """Expand, depthwise, project: a layer of a MobileNet."""
    wide = 3 * int(build.types[x].shape[1])
    y = build(f"{name}.expand", Conv2d(wide, 1), x)
    y = build(f"{name}.depthwise", Conv2d(wide, 3, padding=1, stride=stride, groups=wide), y)
    return build(f"{name}.project", Conv2d(out, 1), y)


def mobile(size: int = 24, channels: int = 8) -> Graph:
    build = Builder()
    x = build.input(channels, size, size)
    y = block(build, x, "a", channels)
    y = block(build, build("sum", Add(), x, y), "b", channels, stride=2)
    return build.graph(y)


@st.composite
def stacks(draw: st.DrawFn) -> Graph:
    """Convolutions of all kinds and pools, one upon the other; some values are read twice."""
    build = Builder(seed=draw(st.integers(0, 99)))
    y = build.input(draw(st.integers(1, 20)), draw(st.integers(5, 30)), draw(st.integers(5, 20)))
    for number in range(draw(st.integers(2, 5))):
        c, h, w = (int(n) for n in build.types[y].shape[1:])
        kernel, stride, dilation = (
            draw(st.sampled_from([1, 3, 5])),
            draw(st.integers(1, 2)),
            draw(st.integers(1, 2)),
        )
        padding = draw(st.integers(0, (kernel - 1) * dilation + draw(st.integers(0, 1))))
        if min(h, w) + 2 * padding <= (kernel - 1) * dilation:
            kernel, padding = 1, 0
        name, window = f"n{number}", {"stride": stride, "padding": padding}
        match draw(st.sampled_from(["conv", "depthwise", "max", "average", "relu", "residual"])):
            case "conv":
                y = build(name, Conv2d(draw(st.integers(1, 20)), kernel, dilation=dilation, **window), y)
            case "depthwise":
                y = build(name, Conv2d(c, kernel, dilation=dilation, groups=c, **window), y)
            case "max":
                y = build(name, MaxPool(3, stride, 1, ceil_mode=draw(st.booleans())), y)
            case "average":
                y = build(name, AvgPool(3, stride, 1, count_include_pad=draw(st.booleans())), y)
            case "relu":
                y = build(name, Relu(), y)
            case _:
                same = build(f"{name}.conv", Conv2d(c, 3, padding=1), y)
                y = build(name, Add(), build(f"{name}.point", Conv2d(c, 1), same), y)
    return build.graph(y)


@given(
    graph=stacks(),
    passes=st.sampled_from(["default", "none"]),
    threads=st.sampled_from([1, 2, 3]),
    batch=st.sampled_from([1, 2, 3]),
    l2=st.sampled_from([1 << 13, 1 << 14, 1 << 15, 1 << 17]),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_strips_change_no_bit(
    eager: None, graph: Graph, passes: str, threads: int, batch: int, l2: int
) -> None:
    graph = nbcnn.optimize(graph, passes)
    inputs = inputs_of(graph, batch)
    whole = compiled(graph, threads, strips=False)
    np.testing.assert_array_equal(only(compiled(graph, threads, l2=l2).run(inputs)), only(whole.run(inputs)))


def only(results: dict[str, np.ndarray]) -> np.ndarray:
    (array,) = results.values()
    return array


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_blocks_are_chains(eager: None, threads: int) -> None:
    graph = nbcnn.optimize(mobile())
    whole, model = compiled(graph, threads, strips=False), compiled(graph, threads)
    assert chains(whole) == []
    (chain,) = chains(model)
    assert chain[-5:] == ["a.depthwise", "sum", "b.expand", "b.depthwise", "b.project"]
    for batch in (1, 2, 7):
        inputs = inputs_of(graph, batch)
        for _ in range(2):  # what moves from image to image is set anew by each call
            np.testing.assert_array_equal(only(model.run(inputs)), only(whole.run(inputs)))
    assert model.memory(7).arena < whole.memory(7).arena
    assert model.memory().scratch > 0


def test_first_layers_and_pools_are_chained(eager: None) -> None:
    build = Builder()
    y = build("stem", Conv2d(16, 3, stride=2, padding=1), build.input(3, 41, 37))
    y = build("pool", MaxPool(3, 2, ceil_mode=True), y)
    model = compiled(build.graph(build("mean", AvgPool(3, 1, 1, count_include_pad=True), y)), 2)
    assert chains(model) == [["stem", "pool", "mean"]]
    inputs = inputs_of(model.graph, 3)
    np.testing.assert_array_equal(
        only(model.run(inputs)), only(compiled(model.graph, 2, strips=False).run(inputs))
    )


def pair(*, twice: bool = False, tall: int = 0, volume: bool = False) -> Graph:
    build = Builder()
    x = build.input(8, *((4, 12, 12) if volume else (12, 12)))
    kind = {"padding": (tall, 0)} if tall else {}
    y = build("one", Conv2d(8, 1), x) if not volume else build("one", Relu(), x)
    z = build("two", Conv2d(8, 1, **kind), y) if not volume else build("two", Relu(), y)
    return build.graph(build("sum", Add(), z, y)) if twice else build.graph(z)


def test_chains_end_where_a_value_is_needed_elsewhere(eager: None) -> None:
    assert chains(compiled(pair())) == [["one", "two"]]
    assert chains(compiled(pair(twice=True))) == []  # "one" has two readers
    assert chains(compiled(pair(), taps=("one",))) == []
    model = compiled(pair(), taps=("two",))
    assert chains(model) == [["one", "two"]]
    with pytest.raises(InputError, match=re.escape("'one' is not kept: compile with taps=['one']")):
        model.tap(**inputs_of(model.graph, 1), values=["one"])
    assert chains(compiled(pair(), keep_values=True)) == []
    graph = pair()
    both = Graph.build("both", graph.inputs, graph.nodes, graph.weights, {"a": "one", "b": "two"})
    assert chains(compiled(both)) == []


def test_what_cannot_be_cut_into_rows_is_not(eager: None) -> None:
    assert chains(compiled(pair(tall=1))) == []  # windows that lie in the padding alone
    assert chains(compiled(pair(volume=True))) == []


def test_weights_beyond_the_cache_are_read_once(eager: None) -> None:
    build = Builder()
    y = build("one", Conv2d(64, 1), build.input(64, 12, 12))
    graph = build.graph(build("two", Conv2d(64, 1), y))
    assert chains(compiled(graph, 2, l2=1 << 17), 64) == [["one", "two"]]
    assert chains(compiled(graph, 2, l2=1 << 16), 64) == []


def test_estimates_take_chains_that_pay_on_this_network() -> None:
    graph = nbcnn.optimize(mobile(112, 16))
    options = CompileOptions(threads=1)
    machine = replace(detect(), l2=1 << 20, l3=1 << 25)
    assert len(chains(compile_graph(graph, options, target=machine))) == 2
    small = nbcnn.optimize(mobile(8))
    assert chains(compile_graph(small, options, target=machine)) == []


def test_other_batch_sizes_compile_nothing(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled(nbcnn.optimize(mobile()), 2)

    def fail(*_: object) -> int:
        raise AssertionError("compiled")

    monkeypatch.setattr(codecache, "_load", fail)
    for batch in (1, 3, 4, 5):
        model.run(inputs_of(model.graph, batch))


def test_profile_and_explain_name_every_node(eager: None) -> None:
    graph = nbcnn.optimize(mobile())
    whole, model = compiled(graph, 2, strips=False), compiled(graph, 2)
    rows = model.explain(3)
    assert {r.node for r in rows} == {r.node for r in whole.explain(3)}
    row = next(r for r in rows if r.node == "b.depthwise")
    names = "(a.expand, )?a.depthwise, sum, b.expand, b.project"
    assert re.fullmatch(rf"\d+ rows at a time with {names}", row.strips)
    assert row.kernel.startswith("f32_depthwise_3x3s2")
    assert row.layout == "nhwc"
    alone = {r.node: r.macs for r in whole.explain(3)}
    assert all(r.macs >= 0.9 * alone[r.node] for r in rows if r.strips)
    times = model.profile(**inputs_of(graph, 3), repeats=2)
    assert [t.node for t in times] == [r.node for r in rows]
    assert sum(t.share for t in times) == pytest.approx(1)
    assert all(t.seconds > 0 for t in times)


def test_the_option_is_a_switch() -> None:
    with pytest.raises(OptionError, match="strips must be True or False, got 1"):
        CompileOptions(strips=1)  # type: ignore[arg-type]
