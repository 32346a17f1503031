"""The verifier finds every kind of damage, done by private edits: no public ones allow it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from nbcnn import ops
from nbcnn.errors import GraphError, ShapeError
from nbcnn.ir import Graph, Node, TensorType, Weight, verify

ROW = TensorType(("N", 4))
RELU, DENSE = ops.get("relu")(), ops.get("dense")(3)


@pytest.fixture
def graph() -> Graph:
    """x -> a -> b -> fc."""
    nodes = [
        Node("a", RELU, ("x",), ("a",)),
        Node("b", RELU, ("a",), ("b",)),
        Node("fc", DENSE, ("b", "w", "bias"), ("fc",)),
    ]
    weights = {
        "w": Weight.of(np.ones((3, 4), np.float32)),
        "bias": Weight.of(np.ones(3, np.float32)),
    }
    return Graph.build("g", {"x": ROW}, nodes, weights, ["fc"])


def swap_node(graph: Graph, name: str, **changes) -> None:
    graph._nx.nodes[name]["node"] = replace(graph.node(name), **changes)
    graph._order = None


def cycle(graph: Graph) -> None:
    graph._nx.add_edge("b", "a", key=7, value="b")


def other_operands(graph: Graph) -> None:
    swap_node(graph, "b", inputs=("x",))


def lost_edge(graph: Graph) -> None:
    graph._nx.remove_edge("a", "b", key=0)


def wrong_slots(graph: Graph) -> None:
    graph._nx.remove_edge("w", "fc", key=1)
    graph._nx.add_edge("w", "fc", key=3, value="w")


def dangling_weight(graph: Graph) -> None:
    graph._add_weight("spare", Weight.of(np.ones(1, np.float32)))


def removed_weight(graph: Graph) -> None:
    graph._nx.remove_node("bias")


def wrong_weight(graph: Graph) -> None:
    graph._nx.nodes["bias"]["weight"] = Weight.of(np.ones(5, np.float32))


def wrong_weight_type(graph: Graph) -> None:
    graph._types["bias"] = TensorType((5,))


def wrong_type(graph: Graph) -> None:
    graph._types["a"] = TensorType(("N", 5))


def wrong_last_type(graph: Graph) -> None:
    graph._types["fc"] = TensorType(("N", 5))


def wrong_op(graph: Graph) -> None:
    swap_node(graph, "fc", op=ops.get("dense")(9))


def two_makers(graph: Graph) -> None:
    swap_node(graph, "b", outputs=("a",))


def missing_output(graph: Graph) -> None:
    graph.outputs = MappingProxyType({"y": "zz"})


@pytest.mark.parametrize(
    "damage, word",
    [
        (cycle, "cycle"),
        (other_operands, "disagree"),
        (lost_edge, "disagree"),
        (wrong_slots, "disagree"),
        (dangling_weight, "'spare' is used by nothing"),
        (removed_weight, "disagree"),
        (wrong_weight, "'bias' is recorded as float32[3]"),
        (wrong_weight_type, "'bias' is recorded as float32[5]"),
        (wrong_type, "'a' is recorded as float32[N, 5]"),
        (wrong_last_type, "'fc' is recorded as float32[N, 5]"),
        (wrong_op, "node 'fc': weight 'w' is float32[3, 4], should be float32[9, 4]"),
        (two_makers, "'a', which exists already"),
        (missing_output, "'zz', which nothing makes"),
    ],
)
def test_damage_is_found(graph: Graph, damage, word: str) -> None:
    verify(graph)
    damage(graph)
    with pytest.raises((GraphError, ShapeError)) as caught:
        verify(graph)
    assert word in str(caught.value)
