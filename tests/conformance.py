"""Holding a compiled program to the float64 reference, node by node."""

from __future__ import annotations

import numpy as np
import tensor_bounds

from nbcnn import reference
from nbcnn.debug.inputs import seeded
from nbcnn.ir import Graph
from nbcnn.lower.model import Model


def inputs_of(graph: Graph, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded standard normal inputs, and small whole numbers."""
    return seeded(graph, batch, seed)


def excesses(model: Model, inputs: dict[str, np.ndarray], stored: float = 0.0) -> dict[str, float]:
    """For every node that was lowered: its worst error in units of its bound (right when <= 1).

    What a node should give is recomputed in float64 from the operands that the program itself
    computed, so that an error is charged to the node that made it and cannot hide behind a softmax.
    ``stored`` is as in `reference.excess`.
    """
    return excesses_of(model, model.tap(**inputs), stored)


def excesses_of(model: Model, values: dict[str, np.ndarray], stored: float = 0.0) -> dict[str, float]:
    """`excesses` of values that were read before."""
    found = {}
    for choice in model.choices:
        site = choice.site
        data = [values[v] if v in values else model.graph.weight(v).array for v in site.data]
        weights, results = [w.array for _, w in site.weights], [values[v] for v in site.outputs]
        if choice.kernel.name.startswith("tensor_"):  # operands are rounded, too
            how = model.target.precision  # type: ignore[union-attr]
            found[site.name] = tensor_bounds.excess(site.op, data, weights, results, how, choice.kernel.name)
        else:
            arrays, rounding = [*data, *weights], choice.kernel.rounding
            found[site.name] = reference.excess(site.op, arrays, results, *rounding, stored)
    return found
