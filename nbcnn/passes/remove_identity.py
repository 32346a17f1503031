"""Remove nodes that hand their operand on unchanged.

Dropout (an inference pass: the identity by definition), pooling with a 1x1 window that skips no point or
over a plane of one point, a pad by nothing, a sum, product, mean or extremum of one element, a change of
shape or dtype to what is there already, a concat or split of one value, a slice that takes everything in
order, an expand or tile that repeats nothing, a transpose that moves no axis but those of one element,
blocks of one point, a resize of every axis to its own size, a clip without bounds, a sum with zeros or a
product with ones (the same but for the sign of a zero). Readers read the operand.

Kept where a graph input or a weight would become an output of the graph: an output is always computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nbcnn.ir import Graph, Node, Rewriter
from nbcnn.ops.pad import Pad
from nbcnn.ops.piecewise import Clip
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.ops.resize import Resize
from nbcnn.ops.slice import Slice
from nbcnn.ops.transpose import Transpose
from nbcnn.passes.base import EXACT, Pass

_SAME_IF_OF_ONE_TYPE = frozenset(
    {
        *("dropout", "identity", "cast", "reshape", "flatten", "squeeze", "unsqueeze", "expand", "tile"),
        *("concat", "split", "depth_to_space", "space_to_depth", "global_avg_pool", "global_max_pool"),
        *("reduce_mean", "reduce_sum", "reduce_prod", "reduce_max", "reduce_min"),
    }
)


@dataclass(frozen=True)
class RemoveIdentity(Pass):
    """dropout, pooling and sums of one point, pad by 0, slice of everything, resize by 1, ...: gone."""

    name: ClassVar[str] = "remove-identity"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        for name in [node.name for node in rw.graph.nodes]:
            node = rw.graph.node(name)  # an earlier rewrite may have redirected its operand
            source = _unchanged(rw.graph, node)
            if source is None:
                continue
            if rw.graph.is_output(node.output) and rw.graph.producer(source) is None:
                rw.refuse(name, f"an output of the graph would be '{source}' itself, which nothing computes")
                continue
            if not rw.begin(name, f"is '{source}' unchanged"):
                return
            rw.redirect(node.output, source)
            rw.erase_dead([name])


_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1}
"""The constant that changes nothing, on either side or on the right."""


def _unchanged(graph: Graph, node: Node) -> str | None:
    """The operand that the node hands on, or None."""
    if _is_identity(graph, node):
        return node.data[0]
    if node.op.name not in _NEUTRAL or all(map(graph.is_weight, node.inputs)):
        return None
    constants = [i for i, v in enumerate(node.inputs) if graph.is_weight(v)]
    if not constants or (constants == [0] and node.op.name not in ("add", "mul")):
        return None
    source, constant = node.inputs[1 - constants[0]], node.inputs[constants[0]]
    if graph.type(source) != graph.type(node.output):
        return None  # the constant makes it larger
    neutral = (graph.weight(constant).array == _NEUTRAL[node.op.name]).all()
    return source if neutral else None


def _is_identity(graph: Graph, node: Node) -> bool:
    if len(node.inputs) != 1 or len(node.outputs) != 1:
        return False
    op, x = node.op, graph.type(node.inputs[0])
    if graph.type(node.outputs[0]) != x:
        return False
    # Below, shapes and dtypes are the same: a stride skips nothing, a slice takes all.
    if isinstance(op, MaxPool | AvgPool):
        return set(op.kernel) == {1}
    if isinstance(op, Pad):
        return op.nothing
    if isinstance(op, Clip):
        return op.min is None and op.max is None
    if isinstance(op, Slice):
        return all(part.step > 0 or x.shape[axis] == 1 for axis, part in op.along(x).items())
    if isinstance(op, Transpose):
        moved = [axis for axis in op.perm if x.shape[axis] != 1]
        return moved == sorted(moved)
    if isinstance(op, Resize):
        return not op.plan(x)
    return op.name in _SAME_IF_OF_ONE_TYPE
