"""Compute once what is computed twice.

    y1 = op(x, w), y2 = op(x, w')  with w' = w:  everything that reads y2 reads y1

Two nodes are the same when their operators are equal, their data operands are the same values (in either
order where that does not matter, as in a sum) and their weights hold the same bits, mask and trainable flag.
Nodes are taken in order, so that whole equal branches fall together; the first one stays. A result of the
graph keeps its public name. Equal weights that are trained separately become one: to train two copies apart,
draw them apart.

Weights are read only where operators, operands and shapes agree already, and each once (a digest), so the
work grows with the size of the graph, not with the number of pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.ir import Graph, Node, Rewriter, Weight
from nbcnn.passes.base import EXACT, Pass

COMMUTATIVE = frozenset(
    {
        *("add", "mul", "minimum", "maximum", "equal", "logical_and", "logical_or", "logical_xor"),
        *("bitwise_and", "bitwise_or", "bitwise_xor"),
    }
)


@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """Equal operators on equal operands: one node."""

    name: ClassVar[str] = "common-subexpressions"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        seen: dict[Hashable, list[str]] = {}
        digests = _Digests(rw.graph)
        for name in [node.name for node in rw.graph.nodes]:
            node = rw.graph.node(name)  # an earlier rewrite may have redirected its operands
            alike = seen.setdefault(_outline(rw.graph, node), [])
            alike.append(name)
            if len(alike) == 1:
                continue
            if len(alike) == 2:
                digests.enter(rw.graph.node(alike[0]))
            first = digests.enter(node)
            if first == name:
                continue
            if not rw.begin(name, f"is '{first}' again"):
                return
            for mine, other in zip(node.outputs, rw.graph.node(first).outputs, strict=True):
                rw.redirect(mine, other)
            rw.erase(name)
            rw.erase_dead(v for v in node.inputs if rw.graph.is_weight(v))


def _outline(graph: Graph, node: Node) -> Hashable:
    """What equal nodes have in common, without a look at the contents of weights: a type stands for each."""
    operands = [graph.type(v) if graph.is_weight(v) else v for v in node.inputs]
    if node.op.name in COMMUTATIVE:
        operands.sort(key=str)
    return node.op, tuple(operands)


class _Digests:
    """The first node of each kind, told apart by the contents of the weights too."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.first: dict[Hashable, str] = {}
        self.known: dict[str, Hashable] = {}

    def enter(self, node: Node) -> str:
        """The node that was entered first among those equal to ``node``: itself, or another."""
        weights = [self.of(v) for v in node.inputs if self.graph.is_weight(v)]
        return self.first.setdefault((_outline(self.graph, node), tuple(weights)), node.name)

    def of(self, name: str) -> Hashable:
        """What identifies the contents of a weight."""
        if name not in self.known:
            self.known[name] = _contents(self.graph.weight(name))
        return self.known[name]


def _contents(weight: Weight) -> Hashable:
    digest = hashlib.blake2b(_bits(weight.array))
    if weight.mask is not None:
        digest.update(_bits(weight.mask))
    return digest.digest(), weight.mask is None, weight.trainable, weight.type


def _bits(array: np.ndarray) -> memoryview:
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]
