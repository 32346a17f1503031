"""Remove nodes that hand their operand on unchanged.

Dropout (an inference pass: the identity by definition), pooling with a 1x1 window that skips no point or
over a plane of one point, a pad by nothing, a mean of one element, a reshape or flatten to the shape that is
there already, a concat of one value. Readers read the operand.

Kept where a graph input or a weight would become an output of the graph: an output is always computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nbcnn.ir import Graph, Node, Rewriter
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.passes.base import EXACT, Pass

_SAME_IF_OF_ONE_TYPE = frozenset(
    {"dropout", "reshape", "flatten", "concat", "pad", "reduce_mean", "global_avg_pool", "global_max_pool"}
)


@dataclass(frozen=True)
class RemoveIdentity(Pass):
    """dropout, pooling and means of one point, pad by 0, reshape to the same shape, concat of one: gone."""

    name: ClassVar[str] = "remove-identity"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        for name in [node.name for node in rw.graph.nodes]:
            node = rw.graph.node(name)  # an earlier rewrite may have redirected its operand
            if not _is_identity(rw.graph, node):
                continue
            source = node.data[0]
            if rw.graph.is_output(node.output) and rw.graph.producer(source) is None:
                rw.refuse(name, f"an output of the graph would be '{source}' itself, which nothing computes")
                continue
            if not rw.begin(name, f"is '{source}' unchanged"):
                return
            rw.redirect(node.output, source)
            rw.erase(name)


def _is_identity(graph: Graph, node: Node) -> bool:
    if len(node.inputs) != 1 or graph.type(node.inputs[0]) != graph.type(node.outputs[0]):
        return False
    if isinstance(node.op, MaxPool | AvgPool):
        return node.op.kernel == (1, 1)  # of one type before and after, so the stride skips nothing
    return node.op.name in _SAME_IF_OF_ONE_TYPE
