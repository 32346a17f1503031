"""Compute at once what depends on weights alone.

A node all of whose operands are weights becomes a weight of the same name, computed by the operator's
reference in float64 and rounded once. Kept where it is an output of the graph: an output is always
computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.ir import Node, Rewriter
from nbcnn.passes.base import REASSOCIATES, Pass


@dataclass(frozen=True)
class FoldConstants(Pass):
    """A node whose operands are all weights: a weight."""

    name: ClassVar[str] = "fold-constants"
    contract: ClassVar = REASSOCIATES

    def run(self, rw: Rewriter) -> None:
        for name in [node.name for node in rw.graph.nodes]:
            node = rw.graph.node(name)
            if not all(rw.graph.is_weight(v) for v in node.inputs):
                continue
            if outputs := [v for v in node.outputs if rw.graph.is_output(v)]:
                rw.refuse(name, f"'{outputs[0]}' is an output of the graph")
                continue
            if not rw.begin(name, "computed from weights"):
                return
            _fold(rw, node)


def _fold(rw: Rewriter, node: Node) -> None:
    operands = [rw.graph.weight(v) for v in node.inputs]
    arrays = node.op.reference(*(_wide(w.array) for w in operands))
    trainable = any(w.trainable for w in operands)
    results = {
        value: array.astype(rw.graph.type(value).dtype)
        for value, array in zip(node.outputs, arrays, strict=True)
    }
    # A value keeps its name, but a name is free only once its node is gone: hence the stand-ins.
    stand_ins = {value: rw.add_weight(value, array) for value, array in results.items()}
    for value, stand_in in stand_ins.items():
        rw.redirect(value, stand_in)
    rw.erase(node.name)
    for value, stand_in in stand_ins.items():
        rw.add_weight(value, results[value], trainable=trainable)
        rw.redirect(stand_in, value)
        rw.erase(stand_in)
    rw.erase_dead(node.inputs)


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array
