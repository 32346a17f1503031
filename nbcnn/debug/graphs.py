"""Graphs as the debugging tools want them: fused bodies written out, parts cut off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from nbcnn.ir import Graph, Node
from nbcnn.ops.fused import Fused


def flat(graph: Graph) -> Graph:
    """``graph`` with the nodes of fused bodies in place of the fused nodes, each value under its name.

    A body's name that the graph has given to another value since becomes ``FUSED NODE/NAME``.
    """
    nodes: list[Node] = []
    taken = {*graph.inputs, *graph.weights, *(n for node in graph.nodes for n in (node.name, *node.outputs))}
    for node in graph.nodes:
        if not isinstance(node.op, Fused):
            nodes.append(node)
            continue
        body = node.op.body
        names = dict(zip(body.inputs + body.weights, node.inputs, strict=True))
        results = dict(zip(body.outputs, node.outputs, strict=True))
        for part in body.nodes:
            for value in part.outputs:
                names[value] = results.get(value) or (f"{node.name}/{value}" if value in taken else value)
            outputs = tuple(names[v] for v in part.outputs)
            name = outputs[0] if len(outputs) == 1 else part.name
            taken.update((name, *outputs))
            nodes.append(
                replace(part, name=name, inputs=tuple(names[v] for v in part.inputs), outputs=outputs)
            )
    return Graph.build(graph.name, graph.inputs, nodes, graph.weights, graph.outputs, dict(graph.meta))


def cut(graph: Graph, outputs: Mapping[str, str], given: Collection[str] = ()) -> Graph:
    """What computes ``outputs`` (public name: value), with the values ``given`` as inputs."""
    needed, nodes = set(outputs.values()), list[Node]()
    for node in reversed(graph.nodes):
        if any(v in needed and v not in given for v in node.outputs):
            nodes.insert(0, node)
            needed.update(node.inputs)
    inputs = {v: t for v, t in graph.inputs.items() if v in needed}
    inputs |= {v: graph.type(v) for n in graph.nodes for v in n.outputs if v in given and v in needed}
    weights = {k: w for k, w in graph.weights.items() if k in needed}
    return Graph.build(graph.name, inputs, nodes, weights, outputs, dict(graph.meta))
