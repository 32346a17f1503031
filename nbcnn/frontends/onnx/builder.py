"""The graph that rows of IMPORT add to: values, nodes, and constants that are computed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from nbcnn.errors import GraphError, ModelFileError
from nbcnn.frontends.onnx.known import Known, evaluate
from nbcnn.frontends.onnx.read import Unsupported
from nbcnn.ir.graph import Graph, Node, check_node
from nbcnn.ir.op import Op
from nbcnn.ir.types import TensorType
from nbcnn.ir.weight import Weight

MAX_TENSOR = 16 << 30
"""Bytes of a value at batch 1: beyond any machine's means."""

MAX_NODES = 50_000

MAX_FOLDED = 1 << 30
"""Bytes of all constants that are computed while a model is read, and the most that one operator works on."""

MAX_TERMS = 1 << 33
"""Elements of one computed constant, times the terms of the sum that each is."""


class GraphBuilder:
    """Typed values under unique names. A name of the file may be another name of a value."""

    def __init__(self) -> None:
        self.inputs: dict[str, TensorType] = {}
        self.nodes: list[Node] = []
        self.taken: set[str] = set()
        """Names of the file: not to be given to anything else."""
        self._types: dict[str, TensorType] = {}
        self._known: dict[str, Known] = {}
        self._stored: set[str] = set()
        self._alias: dict[str, str] = {}
        self._folded = 0

    # -- reading ---------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether ``name`` is a value."""
        return name in self._alias or name in self._types

    def resolve(self, name: str) -> str:
        """The value that ``name`` means; raises GraphError where there is none."""
        found = self._alias.get(name, name)
        if found not in self._types:
            raise GraphError(f"'{name}' is read, and nothing above makes it")
        return found

    def type(self, value: str) -> TensorType:
        return self._types[self.resolve(value)]

    def known(self, value: str) -> Known | None:
        """What is known of a value at import, None where it is computed at run time."""
        return self._known.get(self.resolve(value))

    def inputs_above(self, value: str) -> set[str]:
        """The inputs that ``value`` is or is computed from."""
        makers = {v: node for node in self.nodes for v in node.outputs}
        pending, seen = [self.resolve(value)], set()
        while pending:
            if (at := pending.pop()) not in seen:
                seen.add(at)
                pending += makers[at].inputs if at in makers else ()
        return seen & self.inputs.keys()

    # -- adding ----------------------------------------------------------------------------------

    def fresh(self, name: str) -> str:
        """``name``, or with a number after it when it is taken."""
        found, number = name, 0
        while found in self.taken or self.has(found):
            number += 1
            found = f"{name}.{number}"
        self.taken.add(found)
        return found

    def input(self, name: str, type_: TensorType) -> None:
        """An input of the graph."""
        self._claim(name, type_)
        self.inputs[name] = type_

    def store(self, name: str, type_: TensorType, read: Callable[[], np.ndarray]) -> None:
        """A constant of the file; ``read`` is called when the array is first needed."""
        self._claim(name, type_)
        self._known[name] = Known(type_, (read,))
        self._stored.add(name)

    def define(self, name: str, known: Known) -> None:
        """A constant, or a value that depends on the batch alone."""
        self._claim(name, known.type)
        self._known[name] = known

    def alias(self, name: str, value: str) -> None:
        """Another name of a value."""
        if self.has(name):
            raise GraphError(f"the name '{name}' is used twice")
        self._alias[name] = self.resolve(value)

    def add(self, op: Op, operands: Iterable[str], outputs: list[str]) -> None:
        """A node, or the constants that it computes when all its operands are known.

        Raises ShapeError for operands that the operator does not take.
        """
        values = tuple(self.resolve(v) for v in operands)
        types = [self._types[v] for v in values]
        node = Node(outputs[0], op, values, tuple(outputs))
        data = op.data_count(len(values))
        results = check_node(node, tuple(types[:data]), tuple(types[data:]))
        known = [k for v in values if (k := self._known.get(v))]
        if len(known) == len(values) and not any(t.symbols() for t in results):
            self._charge(op, types, results)
            for name, result in zip(outputs, evaluate(op.reference, known), strict=True):
                self.define(name, result)
            return
        for value in values:
            if value in self._known and not self._known[value].fixed:
                raise Unsupported(f"'{value}' depends on the batch, and run time reads it: bind it (shapes=)")
        if len(self.nodes) >= MAX_NODES:
            raise ModelFileError(f"has more than {MAX_NODES:,} nodes")
        for name, type_ in zip(outputs, results, strict=True):
            self._claim(name, type_)
        self.nodes.append(node)

    def _claim(self, name: str, type_: TensorType) -> None:
        if self.has(name):
            raise GraphError(f"the name '{name}' is used twice")
        if not name.isprintable():
            raise GraphError(f"the name {name!r} holds control characters")
        if (size := type_.nbytes()) > MAX_TENSOR:
            raise GraphError(
                f"'{name}' {type_} takes {size / 2**30:,.0f} GiB at batch 1, over the limit of 16"
            )
        self._types[name] = type_

    def _charge(self, op: Op, types: list[TensorType], results: tuple[TensorType, ...]) -> None:
        """Refuse constants that would take too much memory or time to compute."""
        made = sum(t.nbytes() for t in results)
        self._folded += made
        if max(self._folded, made + sum(t.nbytes() for t in types)) > MAX_FOLDED:
            raise Unsupported(f"computes constants of more than {MAX_FOLDED >> 30} GiB")
        if sum(t.elements() for t in results) * op.reduction(types) > MAX_TERMS:
            raise Unsupported("computes a constant that takes too long")

    # -- the whole -------------------------------------------------------------------------------

    def build(self, name: str, outputs: Mapping[str, str], meta: Mapping[str, Any]) -> Graph:
        """The graph; ``outputs`` maps public names to names of values."""
        found = {public: self.resolve(value) for public, value in outputs.items()}
        return Graph.build(name, self.inputs, self.nodes, self._weights(found.values()), found, meta)

    def _weights(self, outputs: Iterable[str]) -> dict[str, Weight]:
        """The constants that nodes or outputs read.

        Those that stand in a weight's place are trainable as it is; of others, floats that the file stores.
        """
        trainable: dict[str, bool] = {}
        for node in self.nodes:
            params = node.op.params(*(self._types[v] for v in node.data))
            trainable.update(zip(node.weights, (p.trainable for p in params.values()), strict=True))
            for value in node.data:
                trainable.setdefault(value, value in self._stored)
        for value in outputs:
            trainable.setdefault(value, value in self._stored)
        weights = {}
        for value, flag in trainable.items():
            if known := self._known.get(value):
                if not known.fixed:
                    raise Unsupported(f"output '{value}' depends on the batch alone: bind it (shapes=)")
                read = partial(_contiguous, known.arrays[0])
                weights[value] = Weight(known.type, read, flag and known.type.floating, origin="onnx")
        return weights


def _contiguous(read: Callable[[], np.ndarray]) -> np.ndarray:
    """The array with its elements in a row: constants may be broadcast views."""
    array = read()
    return array if array.flags.c_contiguous else array.copy()
