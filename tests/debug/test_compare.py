"""Two graphs compared tensor by tensor: what is compared, what is computed, what counts as wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from planted import residual_network
from strategies import Builder, arrays, graphs

from nbcnn import reference
from nbcnn.debug import Tensor, differences
from nbcnn.debug.compare import measure
from nbcnn.debug.graphs import cut, flat
from nbcnn.ir import Graph, Rewriter, verify
from nbcnn.ops.activation import Relu, Sigmoid
from nbcnn.ops.conv2d import Conv2d
from nbcnn.passes import optimize


def names(before: Graph, after: Graph, **options) -> list[str]:
    return [t.name for t in differences(before, after, arrays(before), **options)]


def test_measure() -> None:
    want = np.array([[1.0, -2.0], [2.0, np.nan]])
    assert measure("a", want, want, 0.0) == Tensor("a", math.inf, 0.0, 0.0, (0, 0))
    off = measure("a", want[0], want[0] + [0.0, 0.01], 0.001)
    assert (off.worst, off.right) == ((1,), False)
    assert off.excess == pytest.approx(10)
    assert off.sqnr == pytest.approx(10 * math.log10(5 / 1e-4))
    assert measure("a", want, np.where(np.isnan(want), 0, want), 1.0).excess == math.inf
    assert measure("a", want, want[0], 1.0).excess == math.inf
    assert measure("a", np.empty((0, 2)), np.empty((0, 2)), 0.0).right


@settings(max_examples=25, deadline=None)
@given(graphs("float64"))
def test_flat_is_the_same_graph(graph) -> None:
    after = flat(optimize(graph))
    verify(after)
    assert not any(n.op.name == "fused" for n in after.nodes)
    want, got = (reference.run(g, arrays(graph)) for g in (optimize(graph), after))
    assert all(np.array_equal(want[k], got[k], equal_nan=True) for k in want)


def test_what_cannot_differ_is_not_computed() -> None:
    graph = residual_network()
    assert names(graph, graph) == []
    folded = optimize(graph, "fuse-conv-bn")
    assert names(graph, folded) == [n.name for n in graph.nodes if n.op.name == "batch_norm"]
    assert names(folded, optimize(folded, "fuse-activation, fuse-residual-add")) == []
    assert names(graph, folded, only={"1.bn2"}) == ["1.bn2"]


def test_end_to_end_errors_spread_and_each_by_itself_they_do_not() -> None:
    graph = residual_network()
    rw = Rewriter(graph)
    rw.begin("0.act1", "another activation")
    rw.replace("0.act1", Sigmoid(), ("0.bn1",))
    assert names(graph, rw.graph) == ["0.act1"]
    spread = names(graph, rw.graph, rtol=1.0)
    assert spread[0] == "0.act1" and spread[-1] == "prob"
    assert "stem" not in spread


def test_results_that_moved_to_another_value_are_compared() -> None:
    build = Builder()
    conv = build("conv", Conv2d(3, 1), build.input(3, 4, 4))
    graph = build.graph({"y": build("b", Relu(), build("a", Relu(), conv))})
    right, wrong, gone = Rewriter(graph), Rewriter(graph), Rewriter(graph)
    for rw, value in ((right, "a"), (wrong, "conv"), (gone, "x")):
        rw.begin("b", "removed")
        rw.redirect("b", value)
        rw.erase_dead(["b", "a", "conv"])
    found = [list(differences(graph, rw.graph, arrays(graph), exact=True)) for rw in (right, wrong, gone)]
    assert [[(t.name, t.right) for t in tensors] for tensors in found] == [
        [("y", True)],
        [("y", False)],
        [("y", False)],
    ]


def test_cut() -> None:
    graph = residual_network()
    part = cut(graph, {"out": "1.add"}, {"0.act2"})
    verify(part)
    assert list(part.inputs) == ["0.act2"]
    assert len(part.nodes) == 6
    assert dict(part.outputs) == {"out": "1.add"}
