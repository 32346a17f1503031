"""The layers that pruning is about: those that multiply by a weight of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from nbcnn.errors import OptionError, nearest
from nbcnn.ir import Graph
from nbcnn.ops.conv import Conv
from nbcnn.ops.dense import Dense
from nbcnn.passes import fusing

WORDS = ("first", "last", "depthwise")
"""What stands for layers without naming them."""


@dataclass(frozen=True)
class Layer:
    """A weight that convolutions or dense layers multiply by, of ``shape`` [O, C/groups, KH, KW] or [O, I].

    ``names`` are those of the layers that read it and of the graph's nodes that they stand in; the first of
    the latter is ``node``. Output channels fall into ``groups``, those of every reader.
    """

    weight: str
    node: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    groups: int

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def size(self) -> int:
        """The number of elements of the weight."""
        return math.prod(self.shape)

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.shape[1] == 1


def layers(graph: Graph) -> list[Layer]:
    """Every weight of a convolution or dense layer, inside fused nodes too, in the order of the graph."""
    found: dict[str, Layer] = {}
    for node in graph.nodes:
        for part in fusing.parts(node):
            if not isinstance(part.op, Conv | Dense) or not graph.is_weight(weight := part.weights[0]):
                continue
            shape = graph.weight(weight).type.extents()
            layer = found.get(weight) or Layer(weight, node.name, (), shape, 1)
            names = tuple(dict.fromkeys((*layer.names, part.name, node.name)))
            groups = math.lcm(layer.groups, getattr(part.op, "groups", 1))
            found[weight] = replace(layer, names=names, groups=groups)
    return list(found.values())


def chosen(layers: list[Layer], names: Iterable[str], words: bool = False) -> dict[str, list[Layer]]:
    """The layers that each of ``names`` means: a layer's name, a shell pattern of names or, with ``words``,
    one of `WORDS`.

    Raises OptionError for a name that means none; of the words only a layer that is not there is missed.
    """
    meaning = {"first": layers[:1], "last": layers[-1:], "depthwise": [x for x in layers if x.depthwise]}
    found: dict[str, list[Layer]] = {}
    for name in names:
        if words and name in meaning:
            found[name] = meaning[name]
            continue
        found[name] = [x for x in layers if any(own == name or fnmatchcase(own, name) for own in x.names)]
        if not found[name]:
            known = [own for x in layers for own in x.names] + list(WORDS if words else ())
            raise OptionError(f"no convolution or dense layer is called '{name}'{nearest(name, known)}")
    return found


def macs(graph: Graph, layer: Layer) -> int:
    """Multiply-accumulates, at batch 1, of the nodes that read the layer's weight."""
    readers = {node.name: node for node, _ in graph.readers(layer.weight)}
    return sum(graph.work(node).macs for node in readers.values())
