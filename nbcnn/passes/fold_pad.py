"""Let the node behind a pad do the padding itself.

    conv(pad(x, 0))       = conv(x) with both paddings: a convolution pads with zeros
    avg_pool(pad(x, 0))   the same, counting padding: the zeros of the pad are counted. Where the pool has
                          padding of its own that it does not count, the two cannot be told apart any more
    max_pool(pad(x, v))   a pool pads with minus infinity, so v = -inf is the same; so is any v that no
                          element of x falls below, for every window holds an element of x (v = 0 after relu,
                          relu6, sigmoid, hard_sigmoid, softmax; see `least`)
    pad(pad(x, v), v)     one pad

The same terms are added in the same order, zeros and all: exact. A pad that others read too stays for
them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from nbcnn.errors import ShapeError
from nbcnn.ir import Graph, Node, Op, Rewriter
from nbcnn.ops.activation import Elu, Tanh
from nbcnn.ops.conv import Conv
from nbcnn.ops.pad import Pad
from nbcnn.ops.pool import AvgPool, MaxPool
from nbcnn.ops.pool_window import PoolWindow
from nbcnn.passes import fusing
from nbcnn.passes.base import EXACT, Pass


@dataclass(frozen=True)
class FoldPad(Pass):
    """pad, then a convolution, avg_pool, max_pool or another pad: one node."""

    name: ClassVar[str] = "fold-pad"
    contract: ClassVar = EXACT

    def run(self, rw: Rewriter) -> None:
        for name in [node.name for node in rw.graph.nodes]:
            node = rw.graph.node(name)  # its pad may have taken in the pad before it
            pad = rw.graph.producer(node.data[0])
            if pad is None or not isinstance(pad.op, Pad):
                continue
            folded = _folded(rw.graph, pad, node)
            if isinstance(folded, str):
                rw.refuse(name, folded)
            elif folded is not None:
                if not rw.begin(name, f"pads instead of '{pad.name}'"):
                    return
                rw.replace(name, folded, (*pad.data, *node.inputs[1:]))
                rw.erase_dead([pad.name])


def least(graph: Graph, value: str) -> float:
    """A bound that no element of ``value`` falls below, from the operator that makes it."""
    bound = math.inf
    while (node := graph.producer(value)) is not None:
        op = fusing.parts(node)[-1].op
        if op.name in ("relu", "relu6", "sigmoid", "hard_sigmoid", "softmax"):
            return min(bound, 0.0)
        if isinstance(op, Tanh):
            return min(bound, -1.0)
        if isinstance(op, Elu) and op.alpha >= 0:
            return min(bound, -op.alpha)
        if op.name not in ("max_pool", "avg_pool", "dropout", "pad"):
            break
        if isinstance(op, AvgPool):
            bound = min(bound, 0.0)  # its padding
        if isinstance(op, Pad):
            bound = min(bound, op.value)
        value = node.data[0]
    return -math.inf


def _folded(graph: Graph, pad: Node, node: Node) -> Op | str | None:
    """What ``node`` becomes; why it cannot be; None for what never takes in a pad."""
    assert isinstance(pad.op, Pad)
    op, v = node.op, pad.op.value
    if not isinstance(op, Pad | Conv | AvgPool | MaxPool):
        return None
    margin = pad.op.plane(graph.type(pad.data[0]))
    if margin is None:
        return f"'{pad.name}' does not put numbers around planes"
    if isinstance(op, Pad) and op.value != v:
        return f"'{pad.name}' pads with {v:g}, '{node.name}' with {op.value:g}"
    if isinstance(op, Conv | AvgPool) and v != 0:
        return f"'{pad.name}' pads with {v:g}, and {op.name} with zeros"
    if isinstance(op, MaxPool) and op.indices:
        return f"'{node.name}' tells where its maxima stand in the padded plane"
    if isinstance(op, MaxPool) and not v <= (bound := least(graph, pad.data[0])):
        known = f"at least {bound:g}" if math.isfinite(bound) else "anything"
        return f"'{pad.name}' pads with {v:g}, and '{pad.data[0]}' may be {known}: a maximum would see it"
    padded = graph.type(pad.output)
    own = op.plane(padded) if isinstance(op, Pad) else op.pads(padded)
    if own is None:
        return f"'{node.name}' does not put numbers around planes"
    fields: dict[str, Any] = {"padding": tuple(a + b for a, b in zip(margin, own, strict=True))}
    if isinstance(op, Pad):
        fields["axes"] = tuple(range(2 - padded.rank, 0))
    elif isinstance(op, PoolWindow):
        fields["kernel"] = op.at(padded).kernel  # its length tells how many axes the padding is for
    folded = replace(op, **fields)
    if isinstance(folded, AvgPool):
        if any(own) and not folded.count_include_pad:
            return f"'{node.name}' does not count its own padding, but the zeros of '{pad.name}'"
        folded = replace(folded, count_include_pad=True)
    try:
        (type_,) = folded.infer(graph.type(pad.data[0]))
    except ShapeError as error:
        return str(error)
    if type_ != graph.type(node.output):
        return f"ceil_mode counts windows by the plane that '{pad.name}' makes"
    return folded
