"""Remove channels that cannot matter, on both sides: what pruning whole filters, or whole inputs, leaves
behind.

A channel that a layer makes is dead when each layer that reads it, for itself, either

* finds zeros there: its filter and bias are zero, and everything on the way maps zero to zero, or
* multiplies it by zeros: that layer's weights for it are all zero.

    conv2(f(conv1(x; w1, b1)); w2, b2) = conv2(f(conv1(x; w1[live], b1[live])); w2[:, live], b2)

On the way may stand activations, pooling, dropout, batch_norm, depthwise convolutions (their weights are cut
along) and a flatten before dense; whatever keeps channels apart. Refused, where there are dead channels, when
the value reaches anything else: an addition, a concatenation, a grouped convolution, an output of the graph.
The last channel stays even if all are dead. Channels found dead can leave others dead: layers are visited
from the back, and again until nothing changes.

A pass of its own, not a part of `remove-dead`: it changes what is summed, and it looks at every weight. In
the default pipeline it follows `fuse-conv-bn`, which shows what a filter and its normalisation make together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from nbcnn.ir import Graph, Node, Op, Rewriter, Weight
from nbcnn.ops.activation import Activation
from nbcnn.ops.batch_norm import BatchNorm
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.reshape import Flatten
from nbcnn.passes import prune_patterns
from nbcnn.passes.affine import of_norm, slots
from nbcnn.passes.base import REASSOCIATES, Pass

_PLAIN = frozenset({"max_pool", "avg_pool", "global_avg_pool", "global_max_pool", "dropout"})
"""Operators without weights that keep channels apart and make zeros of zeros; activations come on top."""


@dataclass(frozen=True)
class RemoveDeadChannels(Pass):
    """Channels that are always zero, or that nothing reads: gone from the layers on both sides."""

    name: ClassVar[str] = "remove-dead-channels"
    contract: ClassVar = REASSOCIATES

    def run(self, rw: Rewriter) -> None:
        changed = True
        while changed:
            changed = False
            for name in [node.name for node in reversed(rw.graph.nodes)]:
                if name not in rw.graph or not _is_layer(rw.graph, rw.graph.node(name)):
                    continue
                span = _Span.of(rw.graph, name)
                dead = int((~span.live).sum())
                if not span.readers or dead == 0 or len(span.live) == 1:
                    continue
                if span.why:
                    rw.refuse(name, f"{dead} of {len(span.live)} channels are dead, but {span.why}")
                    continue
                if dead == len(span.live):
                    span.live[0] = True
                    dead -= 1
                if not rw.begin(name, f"{dead} of {len(span.live)} channels are dead"):
                    return
                _narrow(rw, span)
                changed = True


@dataclass
class _Span:
    """A layer, the nodes that its channels pass through apart from each other, the layers that read them.

    ``live`` tells the channels that matter; ``why`` what keeps the dead ones from going.
    """

    maker: Node
    way: list[Node] = field(default_factory=list)
    readers: list[Node] = field(default_factory=list)
    live: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    why: str | None = None

    @classmethod
    def of(cls, graph: Graph, name: str) -> _Span:
        """Follow the channels of layer ``name``."""
        maker = graph.node(name)
        own = _arrays(graph, maker)
        zero = ~_rows(own["weight"]) & (own.get("bias", np.zeros(1)) == 0)
        span = cls(maker, live=np.zeros(len(zero), bool))
        pending = [(maker.output, zero)]
        while pending:
            value, zero = pending.pop()
            if graph.is_output(value):
                span.blocked(f"'{value}' is an output of the graph", zero)
            for node, slot in graph.readers(value):
                if slot == 0 and (made := _passes(graph, node, zero)) is not None:
                    span.way.append(node)
                    pending.append((node.output, made))
                elif slot == 0 and _is_layer(graph, node):
                    span.readers.append(node)
                    span.live |= ~zero & _columns(graph, node, len(zero))
                else:
                    span.blocked(f"'{node.name}' ({node.op.name}) needs them all", zero)
        return span

    def blocked(self, why: str, zero: np.ndarray) -> None:
        """Something reads the value that keeps its dead channels."""
        self.why = self.why or why
        self.live |= ~zero


def _is_layer(graph: Graph, node: Node) -> bool:
    """A layer that mixes all its input channels, with weights at hand."""
    mixes = isinstance(node.op, Dense) or (isinstance(node.op, Conv2d) and node.op.groups == 1)
    return mixes and all(graph.is_weight(v) for v in node.weights) and not graph.is_weight(node.data[0])


def _passes(graph: Graph, node: Node, zero: np.ndarray) -> np.ndarray | None:
    """Which channels of the node's value are zero when ``zero`` of its operand are; None if it mixes them."""
    op = node.op
    if not all(graph.is_weight(v) for v in node.weights):
        return None
    if op.name in _PLAIN or (isinstance(op, Flatten) and op.axis == 1):
        return zero
    if isinstance(op, Activation):
        at_zero = op.apply(np.zeros(1))[0] == 0
        return zero if at_zero else np.zeros_like(zero)
    if isinstance(op, BatchNorm):
        if graph.type(node.output).shape[1] != len(zero):
            return None  # a flattened image, normalised feature by feature
        norm = of_norm(graph, node)
        return (zero | (norm.scale == 0)) & (norm.shift == 0)
    if isinstance(op, Conv2d) and op.groups == op.channels == len(zero):
        own = _arrays(graph, node)
        return (zero | ~_rows(own["weight"])) & (own.get("bias", np.zeros(1)) == 0)
    return None


def _rows(weight: np.ndarray) -> np.ndarray:
    """Which rows hold anything but zeros."""
    return np.any(weight.reshape(len(weight), -1) != 0, axis=1)


def _columns(graph: Graph, node: Node, channels: int) -> np.ndarray:
    """Which of the ``channels`` before a layer its weights do not multiply by zeros alone."""
    weight = _arrays(graph, node)["weight"]
    return np.any(weight.reshape(len(weight), channels, -1) != 0, axis=(0, 2))


def _arrays(graph: Graph, node: Node) -> dict[str, np.ndarray]:
    return {slot: graph.weight(name).array for slot, name in slots(graph, node).items()}


# -- rewriting -------------------------------------------------------------------------------------


def _narrow(rw: Rewriter, span: _Span) -> None:
    """Compute the live channels alone, under new names: the values are others."""
    graph, live = rw.graph, span.live
    inputs = {span.maker.output: span.maker.output}
    for node in (span.maker, *span.way):
        cut = [_cut(rw, node, slot, name, 0, live) for slot, name in slots(graph, node).items()]
        data = node.data if node is span.maker else (inputs[node.data[0]],)
        inputs[node.output] = rw.add(rw.fresh(f"{node.name}.live"), _smaller(node.op, live), (*data, *cut))
    for node in span.readers:
        (slot, name), *rest = slots(graph, node).items()
        weight = _cut(rw, node, slot, name, 1, live)
        rw.replace(node.name, node.op, (inputs[node.data[0]], weight, *(v for _, v in rest)))
        rw.erase_dead([name])
    rw.erase_dead([node.name for node in reversed((span.maker, *span.way))])


def _smaller(op: Op, live: np.ndarray) -> Op:
    count = int(live.sum())
    if isinstance(op, Conv2d):
        return replace(op, channels=count, groups=op.groups if op.groups == 1 else count)
    return replace(op, channels=count) if isinstance(op, Dense) else op


def _cut(rw: Rewriter, node: Node, slot: str, name: str, axis: int, live: np.ndarray) -> str:
    """The live channels of a weight along ``axis``."""
    weight: Weight = rw.graph.weight(name)

    def kept(array: np.ndarray) -> np.ndarray:
        extent = array.shape[axis]  # of a flattened image each channel has several columns
        return np.compress(np.repeat(live, extent // len(live)), array, axis=axis)

    mask = None if weight.mask is None else kept(weight.mask)
    array = kept(weight.array)
    groups = 1 if getattr(node.op, "groups", 1) == 1 else len(array)
    mark = prune_patterns.renewed(array, weight, groups=groups)
    return rw.add_weight(
        f"{node.name}.live_{slot}", array, trainable=weight.trainable, mask=mask, sparsity=mark
    )
