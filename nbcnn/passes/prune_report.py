"""What pruning did: where the zeros of a graph are, layer by layer, and which channels are gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from nbcnn.ir import BATCH, Graph, Node
from nbcnn.passes import channel_cuts, channel_groups, prune_layers, prune_patterns


@dataclass(frozen=True)
class Row:
    """One layer: the ``shape`` of its weight, how many ``zeros`` it has and in which ``pattern`` (if any).

    ``macs`` are those of batch 1, ``macs_left`` those with a weight that is not zero; None while a height or
    width is a symbol.
    """

    layer: str
    weight: str
    shape: tuple[int, ...]
    elements: int
    zeros: int
    pattern: str
    masked: bool
    macs: int | None
    macs_left: int | None

    @property
    def share(self) -> float:
        return self.zeros / self.elements


def rows(graph: Graph) -> list[Row]:
    """A row for every weight of a convolution or dense layer."""
    found = []
    for layer in prune_layers.layers(graph):
        weight = graph.weight(layer.weight)
        left = int(np.count_nonzero(weight.array))
        zeros = layer.size - left
        macs = None if graph.symbols - {BATCH} else prune_layers.macs(graph, layer)
        pattern = prune_patterns.found(weight.array, layer.groups).pattern if zeros else ""
        found.append(
            Row(
                layer.name,
                layer.weight,
                layer.shape,
                layer.size,
                zeros,
                pattern,
                weight.mask is not None,
                macs,
                None if macs is None else macs * left // layer.size,
            )
        )
    return found


@dataclass(frozen=True)
class Group:
    """Layers whose channels stand and fall together, the one first that makes them first.

    ``channels`` are those of one of them, ``parameters`` and ``macs`` (batch 1; None while a height or width
    is a symbol) of all; each ``_left`` after pruning. ``why`` says why none could go.
    """

    layers: tuple[str, ...]
    channels: int
    channels_left: int
    parameters: int
    parameters_left: int
    macs: int | None
    macs_left: int | None
    why: str


def groups(before: Graph, after: Graph, refused: Mapping[str, str]) -> list[Group]:
    """Every group of channels in ``before``, and what is left of it in ``after``, which has fewer.

    ``refused`` are the reasons of the pass that took them out, by layer.
    """
    channels = channel_groups.of(before)
    members: dict[int, list[str]] = {number: [] for number in channels.makers()}
    for name, axes in channels.along.items():
        for axis in axes:
            if axis.role == "filters" and len(axis.units):
                members[int(channels.group[axis.units[0]])].append(name)
    left = {channel_cuts.origin(node.name): node for node in after.nodes}
    found = []
    for names in members.values():
        old, new = [before.node(name) for name in names], [left[channel_cuts.origin(name)] for name in names]
        found.append(
            Group(
                tuple(names),
                _channels(before, old[0]),
                _channels(after, new[0]),
                _parameters(before, old),
                _parameters(after, new),
                _macs(before, old),
                _macs(after, new),
                next((refused[name] for name in names if name in refused), ""),
            )
        )
    return found


def _channels(graph: Graph, node: Node) -> int:
    return int(graph.type(node.output).shape[1])


def _parameters(graph: Graph, nodes: Iterable[Node]) -> int:
    names = {value for node in nodes for value in node.weights}
    return sum(graph.type(name).elements() for name in names if graph.weight(name).trainable)


def _macs(graph: Graph, nodes: Iterable[Node]) -> int | None:
    return None if graph.symbols - {BATCH} else sum(graph.work(node).macs for node in nodes)
