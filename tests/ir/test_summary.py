from __future__ import annotations

import numpy as np

from nbcnn import ops
from nbcnn.ir import Graph, Node, TensorType, Weight, summary

X = TensorType(("N", 4))


def dense(name: str, x: str, weight: str) -> Node:
    return Node(name, ops.get("dense")(4, bias=False), (x, weight), (name,))


def graph(*nodes: Node, outputs: list[str]) -> Graph:
    used = {v for node in nodes for v in node.weights}
    weights = {name: Weight.of(np.ones((4, 4), np.float32)) for name in sorted(used)}
    return Graph.build("g", {"x": X}, nodes, weights, outputs)


def test_a_shared_weight_counts_once() -> None:
    g = graph(dense("a", "x", "w"), dense("b", "a", "w"), dense("c", "b", "v"), outputs=["c"])
    rows = summary.layers(g)
    assert [row.parameters for row in rows] == [16, 0, 16]
    assert [row.macs for row in rows] == [16, 16, 16]
    assert sum(row.parameters for row in rows) == g.parameters
    assert [row.activation_bytes for row in rows] == [16, 16, 16]


def test_peak_of_a_chain_is_two_values_and_outputs_stay() -> None:
    chain = [dense("a", "x", "w"), dense("b", "a", "w"), dense("c", "b", "w")]
    assert summary.peak_bytes(graph(*chain, outputs=["c"])) == 2 * 16
    assert summary.peak_bytes(graph(*chain, outputs=["c"]), batch=3) == 2 * 48
    assert summary.peak_bytes(graph(*chain, outputs=["a", "c"])) == 3 * 16


def test_a_residual_stays_until_it_is_read() -> None:
    add = Node("sum", ops.get("add")(), ("b", "x"), ("sum",))
    twice = Node("twice", ops.get("add")(), ("sum", "sum"), ("twice",))
    g = graph(dense("a", "x", "w"), dense("b", "a", "w"), add, twice, outputs=["twice"])
    assert summary.peak_bytes(g) == 3 * 16


def test_a_fused_node_is_named_by_its_body() -> None:
    sample = next(s for s in ops.get("fused").samples() if s.note == "residual")
    node = Node("f", sample.op, ("x", "r", "w", "b"), ("f",))
    assert summary.op_text(node) == "conv2d+add+relu"
