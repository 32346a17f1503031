"""Move a transpose behind what does not care about the order of axes, where it may meet its opposite.

    f(transpose(x))                              = transpose(f(x))      for a function of each element
    layer_norm{axes=[3]}(transpose(x))           = transpose(layer_norm{axes=[1]}(x))   likewise softmax
    transpose(x) * c                             = transpose(x * c')    with c' = c in the order of x
    transpose(x) + transpose(y)                  = transpose(x + y)     for one order of axes

Models that normalise or scale channels in the last axis transpose there and back. Behind each other the two
cancel (`canonicalise-shapes`), and what stood between them stands beside its convolutions, where it fuses or
at least reads the image as it lies. Refused where others read the transposed value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from nbcnn.ir import Graph, Node, Op, Rewriter
from nbcnn.ops.activation import Activation
from nbcnn.ops.arithmetic import Binary
from nbcnn.ops.layer_norm import LayerNorm, RmsNorm
from nbcnn.ops.softmax import LogSoftmax, Softmax
from nbcnn.ops.transpose import Transpose
from nbcnn.passes import fusing, rules
from nbcnn.passes.base import REASSOCIATES, Pass
from nbcnn.passes.rules import Plan


@dataclass(frozen=True)
class SinkTransposes(Pass):
    """transpose, then an element-wise operator, a layer_norm or softmax: the transpose last."""

    name: ClassVar[str] = "sink-transposes"
    contract: ClassVar = REASSOCIATES

    def run(self, rw: Rewriter) -> None:
        rules.apply(rw, (_sink,))


def _sink(graph: Graph, node: Node) -> Plan | str | None:
    """The plan for ``node`` where its computed operands are all transposed in one order."""
    makers = {v: _transposed(graph, v) for v in node.data if not graph.is_weight(v)}
    turns = [t for t in makers.values() if t is not None]
    if not turns or len(turns) < len(makers) or len(node.outputs) > 1:
        return None
    perm = _perm(turns[0])
    if any(_perm(t) != perm or graph.type(t.output) != graph.type(node.output) for t in turns):
        return None
    op = _reordered(graph, node, perm)
    if op is None:
        return None
    for turn in turns:
        alone = all(reader.name == node.name for reader, _ in graph.each_reader(turn.output))
        if not alone or graph.is_output(turn.output):
            return fusing.other_uses(graph, turn.output, node)

    def edit(rw: Rewriter) -> Iterable[str]:
        operands = []
        for value in node.inputs:
            turn = makers.get(value)
            if turn is not None:
                operands.append(turn.data[0])
            elif value in node.weights:
                operands.append(value)
            else:
                operands.append(_constant(rw, node, value, perm))
        inner = rw.add(rw.fresh(f"{node.name}.first"), op, operands)
        rw.replace(node.name, Transpose(perm), (inner,))
        rw.erase_dead([*(t.output for t in turns), *(v for v in node.data if graph.is_weight(v))])
        return (node.name, *(reader.name for reader, _ in rw.graph.readers(node.output)))

    names = " and ".join(f"'{t.name}'" for t in turns)
    return Plan(f"{names} can follow it", edit)


def _transposed(graph: Graph, value: str) -> Node | None:
    maker = graph.producer(value)
    return maker if maker is not None and isinstance(maker.op, Transpose) else None


def _perm(node: Node) -> tuple[int, ...]:
    assert isinstance(node.op, Transpose)
    return node.op.perm


def _reordered(graph: Graph, node: Node, perm: tuple[int, ...]) -> Op | None:
    """The operator of ``node`` for operands that are not transposed by ``perm``; None where there is none."""
    op = node.op
    if isinstance(op, Activation | Binary):
        return op
    if isinstance(op, Softmax | LogSoftmax):
        return replace(op, axis=perm[op.axis])
    if isinstance(op, LayerNorm | RmsNorm):
        axes = [perm[axis] for axis in op.along(graph.type(node.data[0]))]
        # Weights span the axes in ascending order.
        return replace(op, axes=tuple(axes)) if axes == sorted(axes) else None
    return None


def _constant(rw: Rewriter, node: Node, name: str, perm: tuple[int, ...]) -> str:
    """Constant operand ``name`` of ``node`` in the order of axes before ``perm``."""
    weight = rw.graph.weight(name)
    if weight.type.elements() == 1:
        return name
    shape = (1,) * (len(perm) - weight.type.rank) + weight.array.shape
    turned = weight.array.reshape(shape).transpose(np.argsort(perm))
    mask = None if weight.mask is None else weight.mask.reshape(shape).transpose(np.argsort(perm))
    return rw.add_weight(f"{node.name}.turned", turned, trainable=weight.trainable, mask=mask)
