"""The structural verifier: run after every pass, always."""

from __future__ import annotations

import networkx as nx

from nbcnn.errors import GraphError
from nbcnn.ir.graph import Graph


def verify(graph: Graph) -> None:
    """Raise GraphError or ShapeError unless ``graph`` is sound.

    Checked: edges agree with the nodes' operands, every value has one producer, no cycles, types
    and weights fit what each operator infers, outputs exist, no weight hangs unused.
    """
    store = graph._nx
    if not nx.is_directed_acyclic_graph(store):
        cycle = " -> ".join(edge[0] for edge in nx.find_cycle(store))
        raise GraphError(f"graph '{graph.name}' has a cycle: {cycle}")
    for name, weight in graph.weights.items():
        if graph.type(name) != weight.type:
            raise GraphError(f"weight '{name}' is recorded as {graph.type(name)} but is {weight.type}")
    made: set[str] = set(graph.inputs) | set(graph.weights)
    for node in graph.nodes:
        edges = sorted((slot, v) for _, _, slot, v in store.in_edges(node.name, keys=True, data="value"))
        if [v for _, v in edges] != list(node.inputs):
            raise GraphError("edges and operands disagree", node=node.name)
        for value in node.inputs:
            if value not in made:
                raise GraphError(f"reads '{value}', which nothing makes", node=node.name)
        for value in node.outputs:
            if value in made:
                raise GraphError(f"makes '{value}', which exists already", node=node.name)
        types = graph._infer(node)
        for value, type_ in zip(node.outputs, types, strict=True):
            if graph.type(value) != type_:
                raise GraphError(
                    f"'{value}' is recorded as {graph.type(value)} but is {type_}", node=node.name
                )
        made.update(node.outputs)
    for name, value in graph.outputs.items():
        if value not in made:
            raise GraphError(f"output '{name}' reads '{value}', which nothing makes")
    for name in graph.weights:
        if not graph.is_used(name):
            raise GraphError(f"weight '{name}' is used by nothing")
