"""Edits: what they do, what they leave alone, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from nbcnn import ops
from nbcnn.errors import GraphError, PassError, ShapeError
from nbcnn.ir import Graph, Node, Rewriter, TensorType, Weight, verify

ROW = TensorType(("N", 4))
RELU, SIGMOID, ADD, DENSE = ops.get("relu")(), ops.get("sigmoid")(), ops.get("add")(), ops.get("dense")(4)


@pytest.fixture
def graph() -> Graph:
    """x -> fc -> a -> b, and a + b."""
    nodes = [
        Node("fc", DENSE, ("x", "w", "bias"), ("fc",)),
        Node("a", RELU, ("fc",), ("a",)),
        Node("b", RELU, ("a",), ("b",)),
        Node("sum", ADD, ("a", "b"), ("sum",)),
    ]
    weights = {"w": Weight.of(np.eye(4, dtype=np.float32)), "bias": Weight.of(np.zeros(4, np.float32))}
    return Graph.build("g", {"x": ROW}, nodes, weights, {"y": "sum"})


def opened(graph: Graph) -> Rewriter:
    rw = Rewriter(graph)
    assert rw.begin("a", "test")
    return rw


def test_the_original_stays(graph) -> None:
    rw = opened(graph)
    rw.redirect("b", "a")
    rw.erase("b")
    verify(rw.graph)
    verify(graph)
    assert [n.name for n in graph.nodes] == ["fc", "a", "b", "sum"]
    assert rw.graph.node("sum").inputs == ("a", "a")
    assert rw.gone == ["b"]
    assert rw.changed


def test_edits_outside_begin_are_refused(graph) -> None:
    rw = Rewriter(graph)
    for edit in (
        lambda: rw.add("z", RELU, ["x"]),
        lambda: rw.add_weight("v", np.zeros(1)),
        lambda: rw.replace("a", SIGMOID, ["fc"]),
        lambda: rw.redirect("b", "a"),
        lambda: rw.erase("b"),
        lambda: rw.set_outputs({"y": "a"}),
    ):
        with pytest.raises(PassError, match="begin"):
            edit()
    assert not rw.changed


def test_limit(graph) -> None:
    rw = Rewriter(graph, limit=2)
    assert [rw.begin("a", str(i)) for i in range(4)] == [True, True, False, False]
    assert [r.number for r in rw.rewrites] == [1, 2]
    assert not Rewriter(graph, limit=0).begin("a", "nothing")


def test_refusals_are_kept_once(graph) -> None:
    rw = Rewriter(graph)
    rw.refuse("a", "two readers")
    rw.refuse("a", "two readers")
    assert [(r.node, r.why) for r in rw.refusals] == [("a", "two readers")]


def test_replace_keeps_name_readers_and_type(graph) -> None:
    rw = opened(graph)
    rw.replace("a", SIGMOID, ["fc"])
    verify(rw.graph)
    assert rw.graph.node("a").op == SIGMOID
    assert {n.name for n, _ in rw.graph.readers("a")} == {"b", "sum"}
    assert rw.gone == []


def test_replace_must_not_change_the_type(graph) -> None:
    rw = opened(graph)
    with pytest.raises(GraphError, match="changed 'a'"):
        rw.replace("a", ops.get("concat")(), ["fc", "fc"])
    with pytest.raises(ShapeError, match="inputs"):
        opened(graph).replace("a", ADD, ["fc"])
    with pytest.raises(GraphError, match="'zz'"):
        opened(graph).replace("a", RELU, ["zz"])


def test_a_cycle_is_found(graph) -> None:
    rw = opened(graph)
    rw.replace("a", RELU, ["b"])
    with pytest.raises(GraphError, match="cycle"):
        verify(rw.graph)


def test_redirect_of_an_output_keeps_its_public_name(graph) -> None:
    rw = opened(graph)
    rw.redirect("sum", "b")
    rw.erase("sum")
    verify(rw.graph)
    assert dict(rw.graph.outputs) == {"y": "b"}


def test_redirect_refuses_another_type(graph) -> None:
    with pytest.raises(PassError, match="cannot stand for"):
        opened(graph).redirect("a", "w")


def test_erase_in_use(graph) -> None:
    rw = opened(graph)
    for name in ("a", "w", "sum"):
        with pytest.raises(GraphError, match="in use"):
            rw.erase(name)


def test_erase_dead_takes_what_only_it_read(graph) -> None:
    rw = opened(graph)
    rw.set_outputs({"y": "x"})
    rw.erase_dead(["sum", "b"])
    verify(rw.graph)
    assert rw.graph.nodes == []
    assert rw.graph.weights == {}


def test_add_and_fresh_names(graph) -> None:
    rw = opened(graph)
    assert rw.fresh("a") == "a.1"
    assert rw.fresh("new") == "new"
    name = rw.add_weight("w", np.ones((4, 4), np.float32), mask=np.eye(4, dtype=bool))
    assert name == "w.1"
    np.testing.assert_array_equal(rw.graph.weight(name).array, np.eye(4))
    rw.replace("fc", DENSE, ["x", name, "bias"])
    rw.erase("w")
    assert rw.add("end", RELU, ["sum"]) == "end"
    rw.set_outputs({"y": "end"})
    verify(rw.graph)
    with pytest.raises(GraphError, match="used twice"):
        rw.add("end", RELU, ["sum"])
