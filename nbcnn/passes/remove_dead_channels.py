"""Remove channels that cannot matter, from every layer that holds them: what pruning whole filters, or whole
inputs, leaves behind.

Channels that stand and fall together (`nbcnn.passes.channel_groups`) are dead when each layer that reads
them, for itself,

* multiplies them by zeros: its weights for them are all zero, or
* finds one number c everywhere in the channel: zero, or any other where a bias can take it in.

    conv2(f(conv1(x; w1, b1)); w2, b2) = conv2(f(conv1(x; w1[live], b1[live])); w2[:, live], b)
    with b = b2 + sum over the dead of w2 * c

A bias can where every output sees all of the channel: in a dense layer, and in a convolution without padding.
A filter of zeros makes its bias everywhere; what comes of that through activations, normalisation, sums and
the like is followed (`nbcnn.passes.channel_values`). Refused, where there are dead channels, when something
needs them all the same: an output of the graph, or an operator that mixes channels. The last channel stays
even if all are dead. Channels found dead can leave others dead: again until nothing changes.

A pass of its own, not a part of `remove-dead`: it changes what is summed, and it looks at every weight. In
the default pipeline it follows `fuse-conv-bn`, which shows what a filter and its normalisation make together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.ir import Graph, Node, Rewriter
from nbcnn.ops.conv import Conv
from nbcnn.ops.dense import Dense
from nbcnn.passes import channel_cuts, channel_groups, channel_values
from nbcnn.passes.base import REASSOCIATES, Pass
from nbcnn.passes.channel_groups import Along, Channels


@dataclass(frozen=True)
class RemoveDeadChannels(Pass):
    """Channels that are one number, or that nothing reads: gone from every layer that holds them."""

    name: ClassVar[str] = "remove-dead-channels"
    contract: ClassVar = REASSOCIATES

    def run(self, rw: Rewriter) -> None:
        while _once(rw):
            pass


def _once(rw: Rewriter) -> bool:
    """Take out all channels that are dead now; whether there were any, and the limit let them go."""
    graph = rw.graph
    channels = channel_groups.of(graph)
    known = channel_values.constants(graph, channels)
    readings = [r for node in graph.nodes if (r := _Reading.of(graph, channels, known, node))]
    read, live = np.zeros((2, len(channels.group)), bool)
    for reading in readings:
        read[reading.units] = True
        live[reading.units[reading.needed]] = True
    dead = channels.spare(read & ~live, live)
    _refuse(rw, channels, dead)
    _refuse_numbers(rw, channels, readings)
    dead &= channels.free
    gone, more = np.zeros_like(dead), True
    for name in [node.name for node in reversed(graph.nodes)]:
        for axis in channels.along.get(name, ()):
            units = channels.units[graph.node(name).outputs[0]]
            if not more or axis.role != "filters" or not (dead & ~gone)[units].any():
                continue
            if more := rw.begin(name, f"{int(dead[units].sum())} of {len(units)} channels are dead"):
                gone[units] |= dead[units]
    if not gone.any():
        return False
    biases = {r.node.name: bias for r in readings if (bias := r.bias(graph, gone)) is not None}
    channel_cuts.cut(rw, channels, gone, biases)
    return more


def _refuse(rw: Rewriter, channels: Channels, dead: np.ndarray) -> None:
    for name, axes in channels.along.items():
        for axis in axes:
            stay = [unit for unit in axis.units.tolist() if dead[unit] and unit in channels.locked]
            if axis.role == "filters" and stay:
                why = f"{len(stay)} of {len(axis.units)} channels are dead, but {channels.locked[stay[0]]}"
                rw.refuse(name, why)


def _refuse_numbers(rw: Rewriter, channels: Channels, readings: list[_Reading]) -> None:
    """Name the layers that keep channels because they cannot take a number in."""
    varies, keeper = np.zeros(len(channels.group), bool), {}
    for reading in readings:
        unknown = np.isnan(reading.values)
        varies[reading.units[reading.needed & unknown]] = True
        for unit in reading.units[reading.needed & ~unknown].tolist():
            keeper.setdefault(unit, reading.node.name)
    for name, axes in channels.along.items():
        for axis in axes:
            found = [unit for unit in axis.units.tolist() if unit in keeper and not varies[unit]]
            if axis.role == "filters" and found:
                why = f"padding or groups keep it from the bias of '{keeper[found[0]]}'"
                rw.refuse(name, f"{len(found)} of {len(axis.units)} channels are a number each, but {why}")


@dataclass(frozen=True)
class _Reading:
    """A layer that sums over channels: their ``units``, the number that each is known to be (or NaN), and
    which it needs."""

    node: Node
    units: np.ndarray
    values: np.ndarray
    needed: np.ndarray

    @classmethod
    def of(
        cls, graph: Graph, channels: Channels, known: dict[str, np.ndarray], node: Node
    ) -> _Reading | None:
        inputs = next((a for a in channels.along.get(node.name, ()) if a.role == "inputs"), None)
        if inputs is None:
            return None
        value = node.data[0]
        taken_in = ~np.isnan(known[value]) if _sees_all(graph, node) else known[value] == 0
        needed = _columns(graph, node, inputs) & ~taken_in
        return cls(node, channels.units[value], known[value], needed)

    def bias(self, graph: Graph, gone: np.ndarray) -> np.ndarray | None:
        """The layer's bias once it has taken in the numbers of the channels ``gone``; None: as it was."""
        numbers = np.where(gone[self.units] & ~np.isnan(self.values), self.values, 0.0)
        if not numbers.any() or not _sees_all(graph, self.node):
            return None
        weight, *bias = (graph.weight(v).array for v in self.node.weights)
        with np.errstate(all="ignore"):
            taps = weight.reshape(*weight.shape[:2], -1).sum(axis=2, dtype=np.float64)
            return (taps @ numbers + (bias[0] if bias else 0.0)).astype(weight.dtype)


def _sees_all(graph: Graph, node: Node) -> bool:
    """Whether a number that a channel is everywhere adds the same to every output of a filter."""
    if isinstance(node.op, Conv):
        return node.op.groups == 1 and not any(node.op.pads(graph.type(node.data[0])))
    return isinstance(node.op, Dense)


def _columns(graph: Graph, node: Node, inputs: Along) -> np.ndarray:
    """Which of the channels that it reads the layer does not multiply by zeros alone."""
    used = graph.weight(node.inputs[inputs.slot]).array != 0
    used = used.any(axis=tuple(range(2, used.ndim)))  # taps
    if inputs.axis == 0:
        return used.any(axis=1)
    groups = getattr(node.op, "groups", 1)
    return used.reshape(groups, len(used) // groups, used.shape[1]).any(axis=1).reshape(-1)
