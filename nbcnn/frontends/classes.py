"""From a classifier's result to named classes with probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nbcnn.errors import InputError
from nbcnn.frontends.preprocess import Placement
from nbcnn.ir.graph import Graph

_MOVES = ("flatten", "reshape", "squeeze", "dropout", "identity")
"""Operators that leave scores what they are."""


@dataclass(frozen=True)
class Guess:
    """A class that a model names; ``label`` is its number where the model has no labels."""

    index: int
    label: str
    probability: float

    def __str__(self) -> str:
        return f"{self.probability:6.1%}  {self.label}"


@dataclass(frozen=True)
class Classification:
    """The task of models that give one vector of scores per image."""

    kind: ClassVar[str] = "classification"
    entries: ClassVar[str] = "classes"

    def check(self, graph: Graph) -> None:
        """Raise InputError unless ``graph`` gives one vector of scores per image."""
        types = graph.types(graph.outputs.values())
        if len(types) != 1 or types[0].rank < 2 or any(d != 1 for d in types[0].shape[2:]):
            raise InputError(f"model '{graph.name}' is no classifier: its outputs are {described(graph)}")

    def read(self, graph: Graph, outputs: Mapping[str, np.ndarray], place: Placement) -> list[Guess]:
        """All classes, the likeliest first."""
        (scores,) = outputs.values()
        (guesses,) = best(graph, scores, scores.size)
        return guesses


def described(graph: Graph) -> str:
    """The outputs of ``graph`` and their types, for an error message."""
    return ", ".join(f"{k}: {graph.type(v)}" for k, v in graph.outputs.items())


def best(graph: Graph, scores: np.ndarray, top: int) -> list[list[Guess]]:
    """The ``top`` likeliest classes of each row of ``scores``, the result of ``graph``.

    Scores become probabilities by a softmax, unless the graph ends with one. Raises InputError for
    scores that have none: NaN, or infinity.
    """
    rows = scores.reshape(scores.shape[0], -1).astype(np.float64)
    if not np.isfinite(rows.max(initial=0.0)):
        raise no_numbers(graph)
    if last_op(graph) != "softmax":
        rows = np.exp(rows - rows.max(axis=1, keepdims=True))
        rows /= rows.sum(axis=1, keepdims=True)
    names = labels(graph, rows.shape[1])
    order = np.argsort(-rows, axis=1, kind="stable")[:, :top]
    return [
        [Guess(i, names[i], float(row[i])) for i in indices.tolist()]
        for row, indices in zip(rows, order, strict=True)
    ]


def labels(graph: Graph, count: int) -> list[str]:
    """Names of ``count`` classes: the model's labels, and numbers where it has no more."""
    known = list(graph.meta.get("labels") or ())[:count]
    return known + [str(i) for i in range(len(known), count)]


def no_numbers(graph: Graph) -> InputError:
    """The error of scores that say nothing."""
    return InputError(f"model '{graph.name}' gives NaN or infinite scores for this image")


def last_op(graph: Graph) -> str | None:
    """The operator that made the only output, moves aside."""
    (value,) = graph.outputs.values()
    node = graph.producer(value)
    while node is not None and node.op.name in _MOVES:
        node = graph.producer(node.data[0])
    if node is None:
        return None
    body = getattr(node.op, "body", None)
    return (body.nodes[-1] if body else node).op.name
