"""Write every change of shape in one way, and a chain of them as one.

    squeeze, unsqueeze       = reshape, and a transpose too that moves no axis but those of extent 1
    reshape(reshape(x))      = reshape(x), likewise with flatten on either side or both
    reshape to [N, C*H*W]    = flatten: what lowering reads without moving anything
    transpose(transpose(x))  = one transpose by the product of both orders, nothing where that is the identity

Such operators keep the order of the elements, so only the first shape and the last one count. What the nodes
in between make is dropped where nothing else reads it. Refused where a shape holds a symbol besides the
batch: the extents to write down are not known yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nbcnn.errors import ShapeError
from nbcnn.ir import BATCH, Graph, Node, Op, Rewriter, TensorType
from nbcnn.ops.reshape import Flatten, Reshape
from nbcnn.ops.transpose import Transpose
from nbcnn.ops.unit_axes import Squeeze, Unsqueeze
from nbcnn.passes.base import EXACT, Pass


@dataclass(frozen=True)
class CanonicaliseShapes(Pass):
    """reshape, flatten, squeeze, unsqueeze, transpose: chains as one, as flatten where that will do."""

    name: ClassVar[str] = "canonicalise-shapes"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        for name in [node.name for node in rw.graph.nodes]:
            node = rw.graph.node(name)
            if _keeps_order(rw.graph, node):
                more = _reshape(rw, node)
            elif isinstance(node.op, Transpose):
                more = _transpose(rw, node)
            else:
                continue
            if not more:
                return


def _keeps_order(graph: Graph, node: Node | None) -> bool:
    """Whether the elements of the result stand in the order of the operand's."""
    if node is None or not isinstance(node.op, Transpose):
        return node is not None and isinstance(node.op, Flatten | Reshape | Squeeze | Unsqueeze)
    moved = [axis for axis in node.op.perm if graph.type(node.data[0]).shape[axis] != 1]
    return moved == sorted(moved)


def _reshape(rw: Rewriter, node: Node) -> bool:
    """Rewrite one node if it has a simpler form; False when the limit on rewrites is reached."""
    graph = rw.graph
    inner = graph.producer(node.data[0])
    chained = _keeps_order(graph, inner)
    source = inner.data[0] if chained and inner else node.data[0]
    op = _simplest(graph.type(source), graph.type(node.output), node.op)
    if op is None:
        if chained:
            rw.refuse(node.name, f"{graph.type(node.output)} holds a symbol besides the batch, or nothing")
        return True
    simple = isinstance(node.op, Flatten) or (isinstance(node.op, Reshape) and not isinstance(op, Flatten))
    if not chained and (op == node.op or simple):
        return True
    what = f"reads '{source}' itself" if chained else f"is a {op.name}"
    return _rewrite(rw, node, op, source, what)


def _simplest(source: TensorType, result: TensorType, op: Op) -> Op | None:
    """The flatten or, failing that, the reshape of ``source`` to ``result``."""
    for axis in range(1, source.rank - 1):
        flatten = Flatten(axis)
        if not source.bind({BATCH: 1}).symbols() and _makes(flatten, source, result):
            return flatten
    if isinstance(op, Reshape) and -1 not in op.shape and _makes(op, source, result):
        return op
    if result.symbols() - {BATCH} or (BATCH in result.shape and result.shape[0] != BATCH):
        return None
    return None if 0 in result.shape else Reshape(tuple(result.shape))  # type: ignore[arg-type]


def _makes(op: Op, source: TensorType, result: TensorType) -> bool:
    """Whether ``op`` takes ``source`` and makes ``result``: a 0 of a reshape copies another extent of it."""
    try:
        return op.infer(source) == (result,)
    except ShapeError:
        return False


def _transpose(rw: Rewriter, node: Node) -> bool:
    inner = rw.graph.producer(node.data[0])
    if inner is None or not isinstance(inner.op, Transpose):
        return True
    assert isinstance(node.op, Transpose)
    op = Transpose(tuple(inner.op.perm[i] for i in node.op.perm))
    return _rewrite(rw, node, op, inner.data[0], f"goes with '{inner.name}'")


def _rewrite(rw: Rewriter, node: Node, op: Op, source: str, what: str) -> bool:
    """Make ``node`` read ``source``, or its readers where that is the same value."""
    graph = rw.graph
    ordered = not isinstance(op, Transpose) or op.perm == tuple(sorted(op.perm))
    same = ordered and graph.type(source) == graph.type(node.output)
    kept = graph.is_output(node.output) and graph.producer(source) is None  # an output is always computed
    if not rw.begin(node.name, what):
        return False
    if same and not kept:
        rw.redirect(node.output, source)
    else:
        rw.replace(node.name, op, (source,))
    rw.erase_dead([node.name, node.data[0]])
    return True
