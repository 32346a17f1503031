"""A graph in figures: what each layer holds and costs, and the memory that its values need."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from nbcnn.ir.graph import Graph, Node
from nbcnn.ir.types import TensorType


@dataclass(frozen=True)
class Layer:
    """One node at batch 1. A weight that several nodes share counts where it is first read."""

    name: str
    op: str
    outputs: tuple[TensorType, ...]
    parameters: int
    macs: int
    activation_bytes: int


def layers(graph: Graph) -> list[Layer]:
    """Every node in order; the parameters and MACs add up to those of the graph."""
    counted: set[str] = set()
    rows = []
    for node in graph.nodes:
        fresh = [v for v in dict.fromkeys(node.inputs) if graph.is_weight(v) and v not in counted]
        counted.update(fresh)
        weights = [graph.weight(v) for v in fresh]
        outputs = graph.types(node.outputs)
        rows.append(
            Layer(
                node.name,
                op_text(node),
                outputs,
                sum(w.type.elements() for w in weights if w.trainable),
                graph.work(node).macs,
                sum(t.nbytes() for t in outputs),
            )
        )
    return rows


def op_text(node: Node) -> str:
    """The node's operator; for a fused one those of its body, ``conv2d+relu``."""
    body = getattr(node.op, "body", None)
    return "+".join(n.op.name for n in body.nodes) if body else node.op.name


def peak_bytes(graph: Graph, batch: int = 1) -> int:
    """The most bytes of values (no weights) alive at once when the nodes run one by one in order.

    A value lives until its last reader has run, an output of the graph to the end; nothing is
    computed in place.
    """
    readers = Counter(v for node in graph.nodes for v in set(node.inputs))
    readers.update(graph.outputs.values())
    alive = {name: type_.nbytes(batch) for name, type_ in graph.inputs.items()}
    peak = sum(alive.values())
    for node in graph.nodes:
        alive.update((v, graph.type(v).nbytes(batch)) for v in node.outputs)
        peak = max(peak, sum(alive.values()))
        readers.subtract(set(node.inputs))
        for value in {*node.inputs, *node.outputs}:
            if readers[value] <= 0:
                alive.pop(value, None)
    return peak
