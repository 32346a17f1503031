"""Tell an activation that is written as arithmetic, and put the activation itself in its place.

    x * sigmoid(x)                               = silu(x)
    x * 0.5 * (1 + erf(x / sqrt(2)))             = gelu(x)
    x * min(max(x + 3, 0), 6) / 6                = hard_swish(x)
    x * tanh(softplus(x))                        = mish(x)

Exporters spell such functions in many ways. So no spelling is looked for: any expression of one value
(element-wise operators and constants that are single numbers) is evaluated at some hundred points and held
to the functions known. It is one of them where all values agree within the rounding of the graph's dtype.
Values that others read stay, and what is made of them.

Powers and bounds are told by their constants: pow by 2, 0.5, -1 is mul, sqrt, reciprocal; maximum and
minimum with a number are a clip.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from nbcnn.ir import Graph, Node, Op, Rewriter
from nbcnn.ops.activation import Activation, Gelu, HardSigmoid, HardSwish, Relu, Relu6, Sigmoid, Silu, Tanh
from nbcnn.ops.arithmetic import Binary, Mul
from nbcnn.ops.elementary import Reciprocal, Sqrt
from nbcnn.ops.piecewise import Clip
from nbcnn.ops.smooth import Mish, Softplus, Softsign
from nbcnn.passes import rules
from nbcnn.passes.base import REASSOCIATES, Pass
from nbcnn.passes.rules import Plan

KNOWN: tuple[Activation, ...] = (
    *(Relu(), Relu6(), Sigmoid(), Tanh(), Silu(), HardSigmoid(), HardSwish(), Gelu(), Gelu("tanh")),
    *(Mish(), Softplus(), Softsign(), Silu(1.702)),
)
MOST = 12
"""Nodes that an expression may have: the tanh form of gelu has ten."""

_FAR = np.geomspace(8, 1e30, 90)
POINTS = np.concatenate([-_FAR[::-1], np.linspace(-8, 8, 257) + 0.003, _FAR])
"""Where expressions are held to functions: also where a bound far out would tell them apart."""


@dataclass(frozen=True)
class RecogniseFunctions(Pass):
    """Arithmetic that spells an activation, a power or a bound: the operator of that name."""

    name: ClassVar[str] = "recognise-functions"
    contract: ClassVar = REASSOCIATES

    def run(self, rw: Rewriter) -> None:
        rules.apply(rw, (_power, _bound, _clips, _function))


def _function(graph: Graph, node: Node) -> Plan | None:
    """The smallest expression with ``node`` as its result that is a function known."""
    if not _element_wise(graph, node):
        return None
    taken = {node.name: node}  # each stands behind all that read its value
    while len(taken) <= MOST:
        inner = {n.output for n in taken.values()}
        leaves = dict.fromkeys(v for n in taken.values() for v in _computed(graph, n) if v not in inner)
        if len(leaves) == 1:
            (x,) = leaves
            op = _known(graph, [*taken.values()][::-1], x, node.output)
            if op == node.op:
                return None
            if op is not None:
                return _replacement(node, taken, x, op)
        own = (p for v in leaves if (p := graph.producer(v)) is not None and _only_for(graph, v, taken))
        found = next((p for p in own if _element_wise(graph, p)), None)
        if found is None:
            return None
        taken[found.name] = found
    return None


def _only_for(graph: Graph, value: str, taken: dict[str, Node]) -> bool:
    """Whether nothing but the nodes ``taken`` reads ``value``."""
    return not graph.is_output(value) and all(n.name in taken for n, _ in graph.each_reader(value))


def _replacement(node: Node, taken: dict[str, Node], x: str, op: Op) -> Plan:
    def edit(rw: Rewriter) -> Iterable[str]:
        operands = [v for n in taken.values() for v in n.inputs if v != x]
        rw.replace(node.name, op, (x,))
        rw.erase_dead(operands)
        return (node.name, *(reader.name for reader, _ in rw.graph.readers(node.output)))

    return Plan(f"is {op.name} of '{x}'", edit)


def _element_wise(graph: Graph, node: Node) -> bool:
    """Whether each element depends on one of each computed operand, of the same type, and on numbers."""
    if not isinstance(node.op, Activation | Binary) or len(node.outputs) > 1:
        return False
    type_ = graph.type(node.output)
    if type_.dtype not in ("float16", "float32", "float64"):
        return False
    return all(
        graph.weight(v).type.elements() == 1 if graph.is_weight(v) else graph.type(v) == type_
        for v in node.inputs
    )


def _computed(graph: Graph, node: Node) -> list[str]:
    return [v for v in node.inputs if not graph.is_weight(v)]


def _known(graph: Graph, nodes: list[Node], x: str, result: str) -> Op | None:
    """The function of ``x`` that ``nodes``, in order, compute, where it is known."""
    values = {x: POINTS}
    for node in nodes:
        operands = [
            graph.weight(v).array.astype(np.float64).reshape(()) if graph.is_weight(v) else values[v]
            for v in node.inputs
        ]
        with np.errstate(all="ignore"):
            (values[node.output],) = node.op.reference(*operands)
    found = values[result]
    unit = float(np.finfo(graph.type(x).dtype).eps)
    for op, wanted in _curves():
        if (abs(found - wanted) <= 8 * unit * (1 + abs(POINTS))).all():
            return op
    return None


@cache
def _curves() -> tuple[tuple[Activation, np.ndarray], ...]:
    return tuple((op, op.reference(POINTS)[0]) for op in KNOWN)


def _number(graph: Graph, node: Node, slot: int) -> float | None:
    """The constant operand ``slot`` of an element-wise node, where the other is computed."""
    value = node.inputs[slot]
    if not graph.is_weight(value) or graph.is_weight(node.inputs[1 - slot]) or not _element_wise(graph, node):
        return None
    return float(graph.weight(value).array.reshape(()))


def _power(graph: Graph, node: Node) -> Plan | None:
    """pow by a number that a cheaper operator stands for."""
    if node.op.name != "pow":
        return None
    x, exponent = node.inputs
    cheaper = {2.0: Mul(), 0.5: Sqrt(), -1.0: Reciprocal()}
    number = _number(graph, node, 1)
    if number not in cheaper:
        return None
    op = cheaper[number]

    def edit(rw: Rewriter) -> Iterable[str]:
        rw.replace(node.name, op, (x, x) if number == 2 else (x,))
        rw.erase_dead([exponent])
        return ()

    return Plan(f"is {op.name}: '{exponent}' is {number:g}", edit)


def _bound(graph: Graph, node: Node) -> Plan | None:
    """maximum or minimum with a number: a clip."""
    if node.op.name not in ("minimum", "maximum"):
        return None
    slot = 0 if graph.is_weight(node.inputs[0]) else 1
    x, constant, number = node.inputs[1 - slot], node.inputs[slot], _number(graph, node, slot)
    if number is None or not np.isfinite(number):
        return None

    def edit(rw: Rewriter) -> Iterable[str]:
        clip = Clip(number, None) if node.op.name == "maximum" else Clip(None, number)
        rw.replace(node.name, clip, (x,))
        rw.erase_dead([constant])
        return (node.name, *(reader.name for reader, _ in rw.graph.readers(node.output)))

    return Plan(f"is a clip at {number:g}", edit)


def _clips(graph: Graph, node: Node) -> Plan | None:
    """A clip of a clip that nothing else reads: one clip, the second applied to the bounds of the first."""
    if not isinstance(node.op, Clip):
        return None
    first = graph.producer(node.data[0])
    if first is None or not isinstance(first.op, Clip):
        return None
    if not _only_for(graph, first.output, {node.name: node}):
        return None
    second = node.op
    low, high = (
        None if bound is None else float(second.apply(np.array(bound)))
        for bound in (first.op.min, first.op.max)
    )
    clip = Clip(second.min if low is None else low, second.max if high is None else high)

    def edit(rw: Rewriter) -> Iterable[str]:
        rw.replace(node.name, clip, first.data)
        rw.erase(first.name)
        return (node.name, *(reader.name for reader, _ in rw.graph.readers(node.output)))

    return Plan(f"'{first.name}' and this are one clip", edit)
