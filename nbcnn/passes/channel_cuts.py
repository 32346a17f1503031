"""Taking units of channels out of a graph: every layer and weight that holds them becomes smaller.

    conv2(f(conv1(x; w1, b1)); w2, b2)  ->  conv2(f(conv1(x; w1[kept], b1[kept])); w2[:, kept], b2)

The result is that of the graph where the layers that read these channels multiply them by zeros. Values that
lose channels are new ones, ``name.live``; all others keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nbcnn.ir import BATCH, Graph, Node, Op, Rewriter
from nbcnn.ops.conv import Conv
from nbcnn.ops.conv_transpose import ConvTranspose
from nbcnn.ops.dense import Dense
from nbcnn.ops.reshape import Reshape
from nbcnn.ops.split import Split
from nbcnn.passes import prune_patterns
from nbcnn.passes.channel_groups import Channels

Masks = dict[int, np.ndarray]
"""By axis of a weight, which of its elements stay."""


def cut(
    rw: Rewriter, channels: Channels, gone: np.ndarray, biases: Mapping[str, np.ndarray] | None = None
) -> None:
    """Take the units ``gone`` (bool, one for each) out of ``rw.graph``, whose units are ``channels``.

    ``biases`` are new ones for the layers named, as long as they were. Call it inside a rewrite.
    """
    graph, biases = rw.graph, biases or {}
    now: dict[str, str] = {}
    dead: list[str] = []
    made: dict[tuple[str, bytes], str] = {}
    for node in graph.nodes:
        op, inputs = node.op, [now.get(v, v) for v in node.inputs]
        for slot, by_axis in _masks(channels, node, gone).items():
            if slot < 2 or node.name not in biases:
                inputs[slot] = _smaller(rw, node, slot, by_axis, made)
        kept = {v: ~gone[channels.units[v]] for v in node.outputs if v in channels.units}
        if node.name in biases:
            op = replace(op, bias=True)  # type: ignore[type-var]  # operators are dataclasses
            array = biases[node.name][kept[node.output]]
            inputs = [*inputs[:2], rw.add_weight(f"{node.name}.live_bias", array)]
        if any(not mask.all() for mask in kept.values()):
            op = _narrower(op, len(channels.units.get(node.data[0], ())), list(kept.values()))
            name = rw.fresh(f"{node.name}.live")
            several = [rw.fresh(f"{v}.live") for v in node.outputs] if len(node.outputs) > 1 else None
            rw.add(name, op, inputs, several)
            now.update(zip(node.outputs, several or [name], strict=True))
        elif op != node.op or inputs != list(node.inputs):
            rw.replace(node.name, op, inputs)
            dead += [v for v in node.inputs if graph.is_weight(v)]
    for old, new in now.items():
        if graph.is_output(old):  # the part of a split that kept its channels
            rw.redirect(old, new)
    rw.erase_dead([*dead, *now])


def origin(name: str) -> str:
    """The name that a value bore before it lost channels."""
    return re.sub(r"(\.live(\.\d+)?)+$", "", name)


class Sizes:
    """What a graph would hold and cost without some of its units; made once, asked often."""

    def __init__(self, graph: Graph, channels: Channels) -> None:
        self._channels = channels
        self._graph = graph
        self._nodes = graph.nodes
        fixed = not graph.symbols - {BATCH}
        self._macs = {node.name: graph.work(node).macs for node in self._nodes} if fixed else None

    def macs(self, gone: np.ndarray) -> int | None:
        """Multiply-accumulates at batch 1, a multiple of its weight's elements for each layer.

        None where an extent is a symbol.
        """
        if self._macs is None:
            return None
        total = 0
        for node in self._nodes:
            if macs := self._macs[node.name]:
                weight = _masks(self._channels, node, gone).get(1, {})
                shape = self._graph.type(node.inputs[1]).extents() if weight else ()
                for axis, mask in weight.items():
                    macs = macs // shape[axis] * int(mask.sum())
            total += macs
        return total

    def parameters(self, gone: np.ndarray) -> int:
        """Trainable elements of all weights, a shared one counted for each way in which it is cut."""
        found: dict[tuple[str, bytes], int] = {}
        for node in self._nodes:
            masks = _masks(self._channels, node, gone)
            for slot, value in enumerate(node.inputs):
                if self._graph.is_weight(value) and self._graph.weight(value).trainable:
                    by_axis = masks.get(slot, {})
                    count = self._graph.type(value).elements()
                    for mask in by_axis.values():
                        count = count // len(mask) * int(mask.sum())
                    found[value, _key(by_axis)] = count
        read = {value for value, _ in found}
        unread = [w for v, w in self._graph.weights.items() if w.trainable and v not in read]
        return sum(found.values()) + sum(w.type.elements() for w in unread)


def _masks(channels: Channels, node: Node, gone: np.ndarray) -> dict[int, Masks]:
    """By slot, the axes of the node's weights that lose something."""
    found: dict[int, Masks] = {}
    for along in channels.along.get(node.name, ()):
        mask = ~gone[along.units]
        if not mask.all():
            found.setdefault(along.slot, {})[along.axis] = mask
    return found


def _key(masks: Masks) -> bytes:
    return b"".join(bytes([axis]) + np.packbits(mask).tobytes() for axis, mask in sorted(masks.items()))


def _smaller(rw: Rewriter, node: Node, slot: int, masks: Masks, made: dict[tuple[str, bytes], str]) -> str:
    """The name of the node's weight without what the masks leave out; shared where it was shared."""
    name = node.inputs[slot]
    if (name, _key(masks)) in made:
        return made[name, _key(masks)]
    weight = rw.graph.weight(name)

    def kept(array: np.ndarray) -> np.ndarray:
        for axis, mask in masks.items():
            array = np.compress(mask, array, axis=axis)
        return array

    array = kept(weight.array)
    groups = getattr(node.op, "groups", 1)
    mark = prune_patterns.renewed(array, weight, groups=groups if len(array) % groups == 0 else len(array))
    params = list(node.op.params(*rw.graph.types(node.data))) if slot >= len(node.data) else []
    base = f"{node.name}.live_{params[slot - len(node.data)]}" if params else f"{name}.live"
    made[name, _key(masks)] = rw.add_weight(
        base,
        array,
        trainable=weight.trainable,
        mask=None if weight.mask is None else kept(weight.mask),
        sparsity=mark,
    )
    return made[name, _key(masks)]


def _narrower(op: Op, read: int, kept: list[np.ndarray]) -> Op:
    """The operator for the channels that are kept; it read ``read`` channels."""
    count = int(kept[0].sum())
    if isinstance(op, Conv | ConvTranspose):
        depthwise = 1 < op.groups == read
        groups = count // (len(kept[0]) // read) if depthwise else op.groups
        return replace(op, channels=count, groups=groups)  # type: ignore[type-var]
    if isinstance(op, Dense):
        return replace(op, channels=count)
    if isinstance(op, Split):
        return replace(op, sizes=tuple(int(mask.sum()) for mask in kept))
    if isinstance(op, Reshape) and op.shape[1] not in (0, -1):
        return replace(op, shape=(op.shape[0], count, *op.shape[2:]))
    return op
