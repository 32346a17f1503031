"""The one way of editing a graph: numbered rewrites on a working copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from nbcnn.errors import GraphError, PassError
from nbcnn.ir.graph import Graph, Node
from nbcnn.ir.op import Op
from nbcnn.ir.types import TensorType
from nbcnn.ir.weight import Sparsity, Weight


@dataclass(frozen=True)
class Rewrite:
    """One numbered step of a pass: what it did, and at which node."""

    number: int
    node: str
    what: str


@dataclass(frozen=True)
class Refusal:
    """A near miss: a place that nearly matched, and why it was left alone."""

    node: str
    why: str


class Rewriter:
    """Edits a copy of a graph. Every edit belongs to a rewrite that `begin` has opened.

    A value that keeps its name keeps its meaning (up to the pass's contract); `gone` lists the
    names of values that no longer exist.
    """

    def __init__(self, graph: Graph, limit: int | None = None) -> None:
        self.before = graph
        self.graph = graph._copy()
        self.limit = limit
        self.rewrites: list[Rewrite] = []
        self.refusals: list[Refusal] = []
        self._refused: set[Refusal] = set()

    def begin(self, node: str, what: str) -> bool:
        """Open a rewrite; False when the limit is reached, and then nothing may be edited."""
        if self.limit is not None and len(self.rewrites) >= self.limit:
            return False
        self.rewrites.append(Rewrite(len(self.rewrites) + 1, node, what))
        return True

    def refuse(self, node: str, why: str) -> None:
        """Record a near miss."""
        refusal = Refusal(node, why)
        if refusal not in self._refused:
            self._refused.add(refusal)
            self.refusals.append(refusal)

    # -- edits -----------------------------------------------------------------------------------

    def add(self, name: str, op: Op, inputs: Iterable[str], outputs: Iterable[str] | None = None) -> str:
        """Add a node; returns its (first) value's name."""
        node = Node(name, op, tuple(inputs), tuple(outputs) if outputs else (name,))
        self._edit()._add_node(node)
        return node.outputs[0]

    def add_weight(
        self,
        name: str,
        array: np.ndarray,
        *,
        trainable: bool = True,
        mask: np.ndarray | None = None,
        sparsity: Sparsity | None = None,
        source: Callable[[], np.ndarray] | None = None,
    ) -> str:
        """Add a weight under ``name`` or, when that is taken, ``name.1``, ``name.2``...; returns the name.

        ``source`` quickly computes ``array`` again, so that it need not be kept for ever.
        """
        fresh = self.fresh(name)
        weight = replace(Weight.of(array, trainable=trainable), mask=mask, sparsity=sparsity)
        if source is not None:
            held, weight = weight, replace(weight, source=source, quick=True)
            weight.__dict__["array"] = held.array
        self._edit()._add_weight(fresh, weight)
        return fresh

    def replace_weight(self, name: str, weight: Weight) -> None:
        """Put ``weight``, of the same type, in the place of the weight called ``name``."""
        if self.graph.type(name) != weight.type:
            raise GraphError(
                f"a rewrite changed weight '{name}' from {self.graph.type(name)} to {weight.type}"
            )
        self._edit()._replace_weight(name, weight)

    def replace(self, name: str, op: Op, inputs: Iterable[str]) -> None:
        """Give node ``name`` another operator and operands; its values keep names, types, readers."""
        old = self.graph.node(name)
        types = self.graph.types(old.outputs)
        self._edit()._replace_node(Node(name, op, tuple(inputs), old.outputs))
        for value, type_ in zip(old.outputs, types, strict=True):
            self._same_type(value, type_)

    def redirect(self, old: str, new: str) -> None:
        """Make every reader of value ``old``, and graph outputs, read ``new`` instead."""
        graph = self._edit()
        if graph.type(old) != graph.type(new):
            raise PassError(f"'{new}' {graph.type(new)} cannot stand for '{old}' {graph.type(old)}")
        for node in {reader.name: reader for reader, _ in graph.readers(old)}.values():
            inputs = tuple(new if v == old else v for v in node.inputs)
            graph._replace_node(Node(node.name, node.op, inputs, node.outputs))
        graph._set_outputs({k: new if v == old else v for k, v in graph.outputs.items()})

    def erase(self, name: str) -> None:
        """Remove a node or weight that nothing reads; raises GraphError when something does."""
        self._edit()._remove(name)

    def erase_dead(self, names: Iterable[str]) -> None:
        """Remove those of ``names`` (nodes, weights), and what only they read, that nothing reads."""
        pending = list(names)
        while pending:
            name = pending.pop()
            if name not in self.graph or self.graph.is_input(name):
                continue
            producer = self.graph.producer(name)
            values = producer.outputs if producer else (name,)
            if any(map(self.graph.is_used, values)):
                continue
            pending.extend(producer.inputs if producer else ())
            self.erase(producer.name if producer else name)

    def set_outputs(self, outputs: Mapping[str, str]) -> None:
        """Change which values are the graph's results."""
        self._edit()._set_outputs(outputs)

    def fresh(self, base: str) -> str:
        """``base``, or the first of ``base.1``, ``base.2``... that no value or node bears."""
        name, number = base, 0
        while name in self.graph:
            number += 1
            name = f"{base}.{number}"
        return name

    # -- the result ------------------------------------------------------------------------------

    @property
    def changed(self) -> bool:
        return bool(self.rewrites)

    @property
    def gone(self) -> list[str]:
        """Names of node values of the original that no longer exist."""
        return [v for n in self.before.nodes for v in n.outputs if v not in self.graph]

    def _edit(self) -> Graph:
        if not self.rewrites:
            raise PassError("a graph may be edited only inside a rewrite: call begin() first")
        return self.graph

    def _same_type(self, value: str, type_: TensorType) -> None:
        if self.graph.type(value) != type_:
            raise GraphError(
                f"a rewrite changed '{value}' from {type_} to {self.graph.type(value)}", node=value
            )
