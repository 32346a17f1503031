from __future__ import annotations

import numpy as np
import pytest

from nbcnn import ops
from nbcnn.errors import InputError
from nbcnn.frontends.classes import Classification, best
from nbcnn.ir import Graph, Node, TensorType


def graph(*names: str, labels: list[str] | None = None, shape=("N", 3)) -> Graph:
    nodes, value = [], "x"
    for i, name in enumerate(names):
        nodes.append(Node(f"n{i}", ops.get(name)(), (value,), (f"n{i}",)))
        value = f"n{i}"
    return Graph.build(
        "g", {"x": TensorType(shape)}, nodes, {}, [value], {"labels": labels} if labels else {}
    )


def test_scores_become_probabilities_without_overflow() -> None:
    first, second = best(graph("relu"), np.array([[1e4, 0, 1e4], [0, np.log(3), -np.inf]], np.float32), 2)
    assert [(g.index, g.label, g.probability) for g in first] == [(0, "0", 0.5), (2, "2", 0.5)]
    assert [g.index for g in second] == [1, 0]
    assert second[0].probability == pytest.approx(0.75)


@pytest.mark.parametrize("ops_", [("softmax",), ("softmax", "dropout", "flatten")])
def test_a_softmax_at_the_end_is_not_repeated(ops_) -> None:
    (found,) = best(graph(*ops_), np.array([[0.25, 0.75, 0]]), 1)
    assert found[0].probability == 0.75


def test_labels_and_more_classes_than_labels() -> None:
    (found,) = best(graph("relu", labels=["cat", "dog"]), np.array([[0.0, 1, 2]]), 9)
    assert [g.label for g in found] == ["2", "dog", "cat"]


def test_only_a_vector_per_image_is_a_classifier() -> None:
    Classification().check(graph("relu"))
    Classification().check(graph("global_avg_pool", shape=("N", 3, 4, 4)))
    with pytest.raises(InputError, match="'g' is no classifier"):
        Classification().check(graph("relu", shape=("N", 3, 4, 4)))


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_scores_that_are_no_numbers(score) -> None:
    with pytest.raises(InputError, match="'g' gives NaN or infinite scores"):
        best(graph("relu"), np.array([[0.0, score, 1.0]]), 1)
