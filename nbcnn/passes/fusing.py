"""What the fusing passes share: the one way of merging a node and its reader into a `Fused` node.

Fused bodies that these passes make have the form

    (convolution | mul) [activation] [add [activation]]   or   (dense | batch_norm | arithmetic) [activation]

where square brackets mean "if present" and each node reads the one before it. Merging never makes a cycle:
the producer's value has no reader but the one it is merged with, so nothing else that the reader needs can
depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from nbcnn.ir import Graph, Node, Rewriter
from nbcnn.ops.activation import Activation
from nbcnn.ops.fused import Body, Fused


def parts(node: Node) -> tuple[Node, ...]:
    """The nodes that ``node`` stands for: itself, or its body over the graph's own value names."""
    if not isinstance(node.op, Fused):
        return (node,)
    body = node.op.body
    actual = dict(zip(body.inputs + body.weights, node.inputs, strict=True))
    return tuple(replace(n, inputs=tuple(actual.get(v, v) for v in n.inputs)) for n in body.nodes)


def is_activation(node: Node) -> bool:
    """Whether ``node`` applies one function to every element."""
    return isinstance(node.op, Activation)


def other_uses(graph: Graph, value: str, reader: Node) -> str | None:
    """Why ``value`` must stay a value of its own, or None when ``reader`` alone reads it, once."""
    if graph.is_output(value):
        return f"'{value}' is an output of the graph"
    others = [node.name for node, _ in islice(graph.each_reader(value), 5)]  # it may have thousands
    if reader.name in others:
        others.remove(reader.name)
    if not others:
        return None
    more = " and others" if len(others) > 3 else ""
    return f"'{value}' is also read by {', '.join(map(repr, others[:3]))}{more}"


def obstacle(graph: Graph, producer: Node, reader: Node) -> str | None:
    """Why ``producer`` cannot be merged into ``reader``, or None when it can."""
    if len(producer.outputs) > 1:
        return f"'{producer.name}' has {len(producer.outputs)} results"
    if uses := other_uses(graph, producer.output, reader):
        return uses
    made = [v for n in parts(producer) + parts(reader) for v in n.outputs]
    outside = [v for v in producer.inputs + reader.inputs if v != producer.output]
    twice = [v for v in made if made.count(v) > 1 or v in outside]  # a later pass took a body's name again
    return f"the fused body would hold two values named '{twice[0]}'" if twice else None


def merge(rw: Rewriter, producer: Node, reader: Node) -> None:
    """Make ``producer`` and its only reader one fused node that bears the reader's name.

    Call it inside a rewrite, where `obstacle` found none. The body's nodes keep their names, and
    its formal operands are the names that the operands have now.
    """
    nodes = parts(producer) + parts(reader)
    made = {v for n in nodes for v in n.outputs}
    data = _distinct(v for n in nodes for v in n.data if v not in made)
    weights = _distinct(v for n in nodes for v in n.weights)
    rw.replace(reader.name, Fused(Body(data, weights, nodes, reader.outputs)), data + weights)
    rw.erase(producer.name)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
