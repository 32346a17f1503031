"""Compute parallel convolutions of one value as one convolution, and split its channels.

    f(conv(x; w1, b1)), f(conv(x; w2, b2))  =  split(f(conv(x; [w1; w2], [b1; b2])))

for ungrouped convolutions of one kernel, stride, padding and dilation, or dense layers, alone or fused with
one and the same activation: the heads of a detector, the narrow branches of a block. What adds a residual is
left alone, and so are layers whose weights are trained in part.

When it pays: one layer reads x once and fills vectors that narrow ones leave half empty. On one thread of an
AVX-512 machine three 1x1 layers of 8 channels gain 1.34x, of 16 channels 1.09x; 3x3 heads of 24, 12 and 36
channels 1.15x. Wide layers gain nothing (160 + 112 + 32 at 14x14: 1.00x, dense 1000 + 4: 1.01x) or lose, as
their readers step over the neighbours (64 + 96 + 16 at 28x28: 0.93x). So layers of more than ``most``
channels are left alone, and so is what a concatenation reads: it is computed right in its place there, and
would have to be copied. Because few networks have such layers, and a value loses its own memory, this is
part of the pipeline ``max``, not of ``default``.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from nbcnn.ir import Graph, Node, Rewriter, Weight
from nbcnn.ops.conv import Conv
from nbcnn.ops.dense import Dense
from nbcnn.ops.fused import Body, Fused
from nbcnn.ops.split import Split
from nbcnn.passes import fusing, prune_patterns
from nbcnn.passes.affine import slots
from nbcnn.passes.base import REASSOCIATES, Pass


@dataclass(frozen=True)
class MergeConvs(Pass):
    """Like convolutions or dense layers of one input, at most ``most`` channels each: one layer, a split."""

    name: ClassVar[str] = "merge-convs"
    contract: ClassVar = REASSOCIATES
    most: int = 48

    def run(self, rw: Rewriter) -> None:
        graph = rw.graph
        groups: dict[Hashable, list[Node]] = {}
        for node in graph.nodes:
            main = fusing.parts(node)[0]
            if isinstance(main.op, Conv | Dense):
                groups.setdefault((main.op.name, main.data), []).append(node)
        for nodes in groups.values():
            alike: dict[Hashable, list[Node]] = {}
            for node in nodes if len(nodes) > 1 else ():
                form = _form(graph, node, self.most)
                if isinstance(form, str):
                    rw.refuse(node.name, form)
                else:
                    alike.setdefault(form, []).append(node)
            for group in alike.values():
                if len(group) > 1 and not _merge(rw, group):
                    return


def _form(graph: Graph, node: Node, most: int) -> Hashable:
    """What layers that can be merged have in common, or why this one cannot be merged with any."""
    main, *rest = fusing.parts(node)
    assert isinstance(main.op, Conv | Dense)
    if isinstance(main.op, Conv) and main.op.groups != 1:
        return f"'{node.name}' is grouped"
    if main.op.channels > most:
        return f"{main.op.channels} channels are more than {most}: alone it fills its vectors"
    if cats := [n.name for n, _ in graph.readers(node.output) if n.op.name == "concat"]:
        return f"'{node.output}' is computed in its place in '{cats[0]}' and would be copied there"
    if len(rest) > 1 or (rest and not fusing.is_activation(rest[0])):
        return f"'{node.name}' is fused with more than an activation"
    if computed := [v for v in main.weights if not graph.is_weight(v)]:
        return f"'{computed[0]}' is computed, not a weight"
    trainable = {graph.weight(v).trainable for v in main.weights}
    if len(trainable) > 1:
        return f"weights of '{node.name}' are trained in part"
    op = replace(main.op, channels=1, bias=True)
    if isinstance(op, Conv):
        op = replace(op, padding=op.pads(graph.type(main.data[0])))
    return op, rest[0].op if rest else None, trainable.pop()


def _merge(rw: Rewriter, nodes: list[Node]) -> bool:
    """Make ``nodes`` one; False when the limit on rewrites is reached."""
    graph, first = rw.graph, nodes[0]
    names = ", ".join(f"'{n.name}'" for n in nodes[1:])
    if not rw.begin(first.name, f"merged with {names}"):
        return False
    mains = [fusing.parts(node)[0] for node in nodes]
    tail = fusing.parts(first)[1:]
    own = [{slot: graph.weight(v) for slot, v in slots(graph, main).items()} for main in mains]
    sizes = tuple(len(w["weight"].array) for w in own)
    biased = any("bias" in w for w in own)
    op = replace(mains[0].op, channels=sum(sizes), bias=biased)  # type: ignore[call-arg]
    label = rw.fresh(f"{first.name}.merged")
    weights = [_joined(rw, f"{label}.weight", [w["weight"] for w in own])]
    if biased:
        biases = [w.get("bias") or _zeros(n, w["weight"]) for w, n in zip(own, sizes, strict=True)]
        weights.append(_joined(rw, f"{label}.bias", biases))
    inputs = (*mains[0].data, *weights)
    if tail:
        conv = Node(f"{label}.{op.name}", op, inputs, (f"{label}.{op.name}",))
        act = Node(label, tail[0].op, conv.outputs, (label,))
        whole = rw.add(label, Fused(Body(mains[0].data, tuple(weights), (conv, act), (label,))), inputs)
    else:
        whole = rw.add(label, op, inputs)
    _split(rw, nodes, whole, sizes)
    return True


def _joined(rw: Rewriter, name: str, weights: list[Weight]) -> str:
    """One weight of the rows of all; a mask where any has one."""
    mask = None
    if any(w.mask is not None for w in weights):
        masks = [np.ones(w.array.shape, bool) if w.mask is None else w.mask for w in weights]
        mask = np.concatenate(masks)
    array = np.concatenate([w.array for w in weights])
    array.flags.writeable = False
    mark = prune_patterns.renewed(array, *weights)
    return rw.add_weight(name, array, trainable=weights[0].trainable, mask=mask, sparsity=mark)


def _zeros(count: int, weight: Weight) -> Weight:
    return Weight.of(np.zeros(count, weight.type.dtype), trainable=weight.trainable)


def _split(rw: Rewriter, nodes: list[Node], whole: str, sizes: tuple[int, ...]) -> None:
    """Put a split of ``whole`` in the place of ``nodes``; their values keep their names."""
    label = rw.fresh(f"{nodes[0].name}.split")
    values = [node.output for node in nodes]
    stand_ins = [rw.fresh(f"{label}.{i}") for i in range(len(nodes))]
    rw.add(f"{label}.all", Split(sizes), (whole,), stand_ins)
    for node, stand_in in zip(nodes, stand_ins, strict=True):
        rw.redirect(node.output, stand_in)
        rw.erase_dead([node.name])
    # The names are free only now that their nodes are gone.
    rw.add(label, Split(sizes), (whole,), values)
    for value, stand_in in zip(values, stand_ins, strict=True):
        rw.redirect(stand_in, value)
    rw.erase(f"{label}.all")
