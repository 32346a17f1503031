"""From a classifier's result to named classes with probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nbcnn.errors import InputError
from nbcnn.ir.graph import Graph

_MOVES = ("flatten", "reshape", "dropout")
"""Operators that leave probabilities what they are."""


@dataclass(frozen=True)
class Guess:
    """A class that a model names; ``label`` is its number where the model has no labels."""

    index: int
    label: str
    probability: float


def check_classifier(graph: Graph) -> None:
    """Raise InputError unless ``graph`` gives one vector of scores per image."""
    types = graph.types(graph.outputs.values())
    if len(types) != 1 or types[0].rank < 2 or any(d != 1 for d in types[0].shape[2:]):
        described = ", ".join(f"{k}: {graph.type(v)}" for k, v in graph.outputs.items())
        raise InputError(f"model '{graph.name}' is no classifier: its outputs are {described}")


def best(graph: Graph, scores: np.ndarray, top: int) -> list[list[Guess]]:
    """The ``top`` likeliest classes of each row of ``scores``, the result of ``graph``.

    Scores become probabilities by a softmax, unless the graph ends with one. Raises InputError for
    scores that have none: NaN, or infinity.
    """
    rows = scores.reshape(scores.shape[0], -1).astype(np.float64)
    if not np.isfinite(rows.max(initial=0.0)):
        raise InputError(f"model '{graph.name}' gives NaN or infinite scores for this image")
    if not _ends_with_softmax(graph):
        rows = np.exp(rows - rows.max(axis=1, keepdims=True))
        rows /= rows.sum(axis=1, keepdims=True)
    labels = list(graph.meta.get("labels") or ())
    names = labels + [str(i) for i in range(len(labels), rows.shape[1])]
    order = np.argsort(-rows, axis=1, kind="stable")[:, :top]
    return [
        [Guess(i, str(names[i]), float(row[i])) for i in indices.tolist()]
        for row, indices in zip(rows, order, strict=True)
    ]


def _ends_with_softmax(graph: Graph) -> bool:
    (value,) = graph.outputs.values()
    node = graph.producer(value)
    while node is not None and node.op.name in _MOVES:
        node = graph.producer(node.data[0])
    if node is None:
        return False
    body = getattr(node.op, "body", None)
    return (body.nodes[-1] if body else node).op.name == "softmax"
