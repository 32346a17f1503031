"""The graph: a networkx MultiDiGraph of inputs, weights and operator nodes, read through typed values.

A *value* is a graph input, a weight or an output of a node. A node of one output bears its value's
name. Graphs are immutable: `Graph.build` makes them, and `Rewriter` derives one from another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import networkx as nx

from nbcnn.errors import GraphError, ShapeError
from nbcnn.ir.op import Op, Work
from nbcnn.ir.types import BATCH, TensorType
from nbcnn.ir.weight import Weight


@dataclass(frozen=True)
class Node:
    """One application of an operator. ``inputs`` are value names: data operands, then weights."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the data operands."""
        return self.inputs[: self.op.data_count(len(self.inputs))]

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weight operands."""
        return self.inputs[self.op.data_count(len(self.inputs)) :]

    @property
    def output(self) -> str:
        """The name of the only output."""
        (name,) = self.outputs
        return name


class Graph:
    """A network. Reading is public; editing goes through `nbcnn.ir.Rewriter`.

    ``outputs`` maps the public name of each result to the value that holds it (the two differ where
    a pass removed a no-op at the end). ``meta`` holds what is not computation: ``preprocess``,
    ``labels``, ``description``.
    """

    def __init__(self, name: str, meta: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.meta: Mapping[str, Any] = MappingProxyType(dict(meta or {}))
        self.outputs: Mapping[str, str] = MappingProxyType({})
        self._nx = nx.MultiDiGraph(name=name)
        self._producer: dict[str, str] = {}
        self._types: dict[str, TensorType] = {}
        self._order: list[Node] | None = None
        self._shared = False

    @classmethod
    def build(
        cls,
        name: str,
        inputs: Mapping[str, TensorType],
        nodes: Iterable[Node],
        weights: Mapping[str, Weight],
        outputs: Mapping[str, str] | Iterable[str],
        meta: Mapping[str, Any] | None = None,
    ) -> Graph:
        """Make a checked graph; ``nodes`` must stand after the nodes whose values they read.

        Raises GraphError or ShapeError, with the node's name, at the first thing that is wrong.
        """
        graph = cls(name, meta)
        for key, type_ in inputs.items():
            graph._add_input(key, type_)
        for key, weight in weights.items():
            graph._add_weight(key, weight)
        for node in nodes:
            graph._add_node(node)
        graph._set_outputs(outputs if isinstance(outputs, Mapping) else {o: o for o in outputs})
        return graph

    # -- reading ---------------------------------------------------------------------------------

    @property
    def nx(self) -> nx.MultiDiGraph:
        """A frozen view for any networkx algorithm.

        Vertices are input, weight and node names with attribute ``kind`` ("input", "weight",
        "node") and ``type``, ``weight`` or ``node``; edges run from producer to reader, keyed by
        the reader's operand slot, with the value's name as attribute ``value``.
        """
        return nx.freeze(self._nx.copy(as_view=True))

    @property
    def inputs(self) -> dict[str, TensorType]:
        return {k: d["type"] for k, d in self._nx.nodes(data=True) if d["kind"] == "input"}

    @property
    def weights(self) -> dict[str, Weight]:
        return {k: d["weight"] for k, d in self._nx.nodes(data=True) if d["kind"] == "weight"}

    @property
    def nodes(self) -> list[Node]:
        """The operator nodes in a stable topological order."""
        if self._order is None:
            place = {key: i for i, key in enumerate(self._nx)}
            order = nx.lexicographical_topological_sort(self._nx, key=place.__getitem__)
            data = self._nx.nodes
            self._order = [data[k]["node"] for k in order if data[k]["kind"] == "node"]
        return list(self._order)

    def node(self, name: str) -> Node:
        """The node called ``name``; raises GraphError when there is none."""
        if name not in self._nx or self._nx.nodes[name]["kind"] != "node":
            raise GraphError(f"no node '{name}' in graph '{self.name}'")
        return self._nx.nodes[name]["node"]

    def weight(self, name: str) -> Weight:
        """The weight called ``name``; raises GraphError when there is none."""
        if not self.is_weight(name):
            raise GraphError(f"no weight '{name}' in graph '{self.name}'")
        return self._nx.nodes[name]["weight"]

    def is_weight(self, value: str) -> bool:
        return value in self._nx and self._nx.nodes[value]["kind"] == "weight"

    def is_input(self, value: str) -> bool:
        return value in self._nx and self._nx.nodes[value]["kind"] == "input"

    def __contains__(self, name: str) -> bool:
        """Whether a node, weight, input or value of this name exists."""
        return name in self._nx or name in self._producer

    def producer(self, value: str) -> Node | None:
        """The node that makes ``value``, or None for a graph input or a weight."""
        return self._nx.nodes[self._producer[value]].get("node")

    def readers(self, value: str) -> list[tuple[Node, int]]:
        """Every (node, operand slot) that reads ``value``; graph outputs are not among them."""
        return list(self.each_reader(value))

    def each_reader(self, value: str) -> Iterator[tuple[Node, int]]:
        """`readers`, one by one: a value may have thousands, and the graph must not be edited meanwhile."""
        data = self._nx.nodes
        below: Any = self._nx.adj[self._producer[value]]
        for reader, edges in below.items():
            for slot, edge in edges.items():
                if edge["value"] == value:
                    yield data[reader]["node"], slot

    def is_used(self, value: str) -> bool:
        """Whether a node reads ``value`` or it is a graph output."""
        return self.is_output(value) or next(self.each_reader(value), None) is not None

    def is_output(self, value: str) -> bool:
        return value in self.outputs.values()

    def type(self, value: str) -> TensorType:
        """The type of a value; raises GraphError when there is no such value."""
        try:
            return self._types[value]
        except KeyError:
            raise GraphError(f"no value '{value}' in graph '{self.name}'") from None

    def types(self, values: Iterable[str]) -> tuple[TensorType, ...]:
        return tuple(self.type(v) for v in values)

    def work(self, node: Node) -> Work:
        """Cost of one node at batch 1."""
        return node.op.work(self.types(node.inputs), self.types(node.outputs))

    @property
    def parameters(self) -> int:
        """Number of trainable weight elements."""
        return sum(w.type.elements() for w in self.weights.values() if w.trainable)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference at batch 1."""
        return sum(self.work(n).macs for n in self.nodes)

    @cached_property
    def symbols(self) -> set[str]:
        return set().union(*(t.symbols() for t in self.inputs.values()))

    def bind(self, shapes: Mapping[str, int]) -> Graph:
        """The same graph with symbolic extents other than the batch replaced by numbers."""
        inputs = {k: t.bind(shapes) for k, t in self.inputs.items()}
        return Graph.build(self.name, inputs, self.nodes, self.weights, self.outputs, dict(self.meta))

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.nodes)} nodes, {self.parameters:,} parameters>"

    # -- editing: for build and the Rewriter only ------------------------------------------------

    def _copy(self) -> Graph:
        """A twin to edit; the store is shared until one of the two is edited (most passes change nothing)."""
        twin = Graph(self.name, self.meta)
        twin.outputs = self.outputs
        twin._nx, twin._producer, twin._types = self._nx, self._producer, self._types
        twin._order = self._order
        self._shared = twin._shared = True
        return twin

    def _own(self) -> None:
        """Called before every edit: from here on the store is this graph's alone."""
        if self._shared:
            self._nx, self._producer, self._types = self._nx.copy(), dict(self._producer), dict(self._types)
            self._shared = False

    def _claim(self, name: str, what: str) -> None:
        if not isinstance(name, str) or not name:
            raise GraphError(f"{what} needs a name, got {name!r}")
        if name in self:
            raise GraphError(f"the name '{name}' is used twice", node=name)

    def _add_input(self, name: str, type_: TensorType) -> None:
        self._claim(name, "an input")
        if BATCH in type_.shape[1:]:
            raise ShapeError(f"'{BATCH}' is the batch: it stands first, not as in {type_}", node=name)
        self._own()
        self._nx.add_node(name, kind="input", type=type_)
        self._producer[name] = name
        self._types[name] = type_

    def _add_weight(self, name: str, weight: Weight) -> None:
        self._claim(name, "a weight")
        self._own()
        self._nx.add_node(name, kind="weight", weight=weight)
        self._producer[name] = name
        self._types[name] = weight.type

    def _add_node(self, node: Node) -> None:
        self._claim(node.name, "a node")
        for value in node.outputs:
            if value != node.name:
                self._claim(value, "an output")
        types = self._infer(node)
        self._own()
        self._nx.add_node(node.name, kind="node", node=node)
        self._connect(node, types)

    def _replace_node(self, node: Node) -> None:
        """Put ``node`` where the node of the same name and outputs stood."""
        types = self._infer(node)
        self._own()
        self._nx.remove_edges_from(list(self._nx.in_edges(node.name, keys=True)))
        self._nx.nodes[node.name]["node"] = node
        self._connect(node, types)

    def _replace_weight(self, name: str, weight: Weight) -> None:
        self._own()
        self._nx.nodes[name]["weight"] = weight

    def _connect(self, node: Node, types: tuple[TensorType, ...]) -> None:
        for slot, value in enumerate(node.inputs):
            self._nx.add_edge(self._producer[value], node.name, key=slot, value=value)
        for value, type_ in zip(node.outputs, types, strict=True):
            self._producer[value] = node.name
            self._types[value] = type_
        self._order = None

    def _remove(self, name: str) -> None:
        data = self._nx.nodes[name]
        values = data["node"].outputs if data["kind"] == "node" else (name,)
        for value in values:
            if self.is_used(value):
                raise GraphError(f"'{value}' is still in use", node=name)
        self._own()
        self._nx.remove_node(name)
        for value in values:
            del self._producer[value], self._types[value]
        self._order = None

    def _set_outputs(self, outputs: Mapping[str, str]) -> None:
        if not outputs:
            raise GraphError(f"graph '{self.name}' has no outputs")
        for value in outputs.values():
            if value not in self._producer:
                raise GraphError(f"output '{value}' is no value of graph '{self.name}'")
        self.outputs = MappingProxyType(dict(outputs))

    def _infer(self, node: Node) -> tuple[TensorType, ...]:
        for value in node.inputs:
            if value not in self._producer:
                raise GraphError(f"input '{value}' does not exist (yet)", node=node.name)
        try:
            types = check_node(node, self.types(node.data), self.types(node.weights))
        except ShapeError as error:
            error.node = error.node or node.name
            raise
        if len(types) != len(node.outputs):
            raise GraphError(
                f"{node.op.name} has {len(types)} outputs, {len(node.outputs)} are named",
                node=node.name,
            )
        return types


def check_node(
    node: Node, data: tuple[TensorType, ...], weights: tuple[TensorType, ...]
) -> tuple[TensorType, ...]:
    """Output types of ``node``; raises ShapeError when operands or weights do not fit."""
    op = node.op
    if op.variadic:
        if not data:
            raise ShapeError(f"{op.name} needs at least one input")
    elif len(data) != len(op.operands):
        raise ShapeError(f"{op.name} takes {len(op.operands)} inputs, got {len(data)}")
    types = op.infer(*data)
    wanted = op.params(*data)
    if len(wanted) != len(weights):
        raise ShapeError(f"{op.name} takes the weights ({', '.join(wanted)}), got {len(weights)} of them")
    for (slot, param), value, got in zip(wanted.items(), node.weights, weights, strict=True):
        if param.type != got:
            raise ShapeError(f"{slot} '{value}' is {got}, should be {param.type}")
    return types
