"""Where the zeros of a graph are, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nbcnn.ir import BATCH, Graph
from nbcnn.passes import prune_layers, prune_patterns


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
