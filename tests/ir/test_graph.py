"""Building and reading graphs."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from nbcnn import ops
from nbcnn.errors import GraphError, ShapeError
from nbcnn.ir import Graph, Node, TensorType, Weight

ROW = TensorType(("N", 4))
RELU, ADD, CONCAT, DENSE = ops.get("relu")(), ops.get("add")(), ops.get("concat")(), ops.get("dense")(3)


def weight(*shape: int, trainable: bool = True) -> Weight:
    return Weight.of(np.ones(shape, np.float32), trainable=trainable)


def node(name: str, op, *inputs: str) -> Node:
    return Node(name, op, inputs, (name,))


def diamond() -> Graph:
    """x -> a -> (b, c) -> d -> fc."""
    nodes = [
        node("a", RELU, "x"),
        node("b", RELU, "a"),
        node("c", RELU, "a"),
        node("d", ADD, "b", "c"),
        node("fc", DENSE, "d", "fc.weight", "fc.bias"),
    ]
    weights = {"fc.weight": weight(3, 4), "fc.bias": weight(3)}
    return Graph.build("diamond", {"x": ROW}, nodes, weights, ["fc"], {"description": "a test"})


def test_reading() -> None:
    graph = diamond()
    assert list(graph.inputs) == ["x"]
    assert [n.name for n in graph.nodes] == ["a", "b", "c", "d", "fc"]
    assert graph.node("fc").data == ("d",)
    assert graph.node("fc").weights == ("fc.weight", "fc.bias")
    assert graph.type("fc") == TensorType(("N", 3))
    assert graph.producer("d") == graph.node("d")
    assert graph.producer("x") is None
    assert [(n.name, slot) for n, slot in graph.readers("c")] == [("d", 1)]
    assert {n.name for n, _ in graph.readers("a")} == {"b", "c"}
    assert graph.is_output("fc")
    assert graph.is_weight("fc.bias")
    assert graph.is_input("x")
    assert "a" in graph
    assert "z" not in graph
    assert graph.parameters == 15
    assert graph.macs == 12
    assert graph.symbols == {"N"}
    assert graph.meta["description"] == "a test"


def test_one_value_read_twice_by_one_node() -> None:
    graph = Graph.build("twice", {"x": ROW}, [node("y", ADD, "x", "x")], {}, ["y"])
    assert [slot for _, slot in graph.readers("x")] == [0, 1]


def test_statistics_are_no_parameters() -> None:
    op = ops.get("batch_norm")()
    names = list(op.params(ROW))
    weights = {n: weight(4, trainable=p.trainable) for n, p in op.params(ROW).items()}
    graph = Graph.build("bn", {"x": ROW}, [node("bn", op, "x", *names)], weights, ["bn"])
    assert graph.parameters == 8


def test_networkx_view_is_frozen() -> None:
    graph = diamond()
    view = graph.nx
    assert nx.is_directed_acyclic_graph(view)
    assert nx.shortest_path_length(view, "x", "fc") == 4
    assert view.nodes["x"]["kind"] == "input"
    assert view.edges["c", "d", 1]["value"] == "c"
    for edit in (lambda: view.add_node("z"), lambda: view.remove_node("a"), lambda: view.add_edge("x", "fc")):
        with pytest.raises(nx.NetworkXError):
            edit()
    assert len(graph.nodes) == 5


def test_weights_and_meta_are_read_only() -> None:
    graph = diamond()
    with pytest.raises(ValueError, match="read-only"):
        graph.weight("fc.weight").array[0] = 0
    with pytest.raises(TypeError):
        graph.meta["name"] = 1
    with pytest.raises(TypeError):
        graph.outputs["z"] = "a"


def test_weight_is_a_copy() -> None:
    array = np.ones(3, np.float32)
    kept = Weight.of(array)
    array[0] = 7
    assert kept.array[0] == 1


def test_bind() -> None:
    image = TensorType(("N", 3, "H", "W"))
    graph = Graph.build("free", {"x": image}, [node("y", RELU, "x")], {}, ["y"])
    assert graph.symbols == {"N", "H", "W"}
    assert graph.bind({"H": 5, "W": 6}).type("y") == TensorType(("N", 3, 5, 6))


@pytest.mark.parametrize(
    "nodes, weights, outputs, word",
    [
        ([node("y", RELU, "z")], {}, ["y"], "'z' does not exist"),
        ([node("a", RELU, "b"), node("b", RELU, "a")], {}, ["b"], "'b' does not exist"),
        ([node("y", RELU, "y")], {}, ["y"], "'y' does not exist"),
        ([node("x", RELU, "x")], {}, ["x"], "'x' is used twice"),
        ([node("y", RELU, "x"), node("y", RELU, "x")], {}, ["y"], "'y' is used twice"),
        ([Node("y", RELU, ("x",), ("x",))], {}, ["y"], "'x' is used twice"),
        ([node("w", RELU, "x")], {"w": weight(1)}, ["w"], "'w' is used twice"),
        ([node("", RELU, "x")], {}, ["x"], "needs a name"),
        ([node("y", RELU, "x")], {}, [], "no outputs"),
        ([node("y", RELU, "x")], {}, ["z"], "'z' is no value"),
        ([Node("y", RELU, ("x",), ("a", "b"))], {}, ["a"], "1 outputs, 2 are named"),
    ],
)
def test_broken_structure(nodes, weights, outputs, word) -> None:
    with pytest.raises(GraphError) as caught:
        Graph.build("broken", {"x": ROW}, nodes, weights, outputs)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "broken, weights, word",
    [
        (node("y", ADD, "x"), {}, "takes 2 inputs, got 1"),
        (node("y", CONCAT), {}, "at least one"),
        (node("y", DENSE, "x"), {}, "(weight, bias), got 0"),
        (node("y", DENSE, "x", "w", "b"), {"w": weight(3, 5), "b": weight(3)}, "weight 'w' is float32[3, 5]"),
        (node("y", DENSE, "x", "w", "b"), {"w": weight(3, 4), "b": weight(4)}, "should be float32[3]"),
        (node("y", ops.get("conv2d")(2, 3), "x"), {}, "images"),
    ],
)
def test_broken_types_name_the_node(broken, weights, word) -> None:
    with pytest.raises(ShapeError) as caught:
        Graph.build("broken", {"x": ROW}, [broken], weights, ["y"])
    assert word in str(caught.value)
    assert "node 'y'" in str(caught.value)


def test_unknown_names() -> None:
    graph = diamond()
    for look in (graph.node, graph.type, graph.weight):
        with pytest.raises(GraphError, match="'zz'"):
            look("zz")
    with pytest.raises(GraphError, match="no weight 'a'"):
        graph.weight("a")


def test_the_batch_stands_first() -> None:
    with pytest.raises(ShapeError, match="stands first"):
        Graph.build("g", {"x": TensorType((3, "N"))}, [], {}, ["x"])
