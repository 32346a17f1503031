"""Weights are read when first used, and let go where that is cheap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import nbcnn
from nbcnn.ir import Weight


def counted() -> tuple[Weight, list[int]]:
    """A weight, and a list that grows whenever its source is asked."""
    asked: list[int] = []

    def source() -> np.ndarray:
        asked.append(1)
        return np.arange(6, dtype=np.float32)

    return replace(Weight.of(source()), source=source), asked


def test_a_quick_weight_is_made_again_and_others_are_not() -> None:
    weight, asked = counted()
    del asked[:]
    assert weight.array is weight.array
    weight.forget()
    weight.array  # noqa: B018
    assert len(asked) == 1
    quick = replace(weight, quick=True)
    first = quick.array
    quick.forget()
    np.testing.assert_array_equal(quick.array, first)
    assert len(asked) == 3
    assert not quick.array.flags.writeable


@pytest.mark.parametrize("mask", [None, np.array([True, False] * 3)])
def test_a_mask_holds_again(mask) -> None:
    weight = replace(counted()[0], quick=True).masked(mask)
    first = weight.array
    weight.forget()
    np.testing.assert_array_equal(weight.array, first)


def test_a_compiled_model_lets_folded_weights_go_and_can_have_them_again(rng) -> None:
    graph = nbcnn.optimize(nbcnn.load("digits"))
    folded = {k: w for k, w in graph.weights.items() if "folded" in k}
    before = {k: w.array for k, w in folded.items()}
    assert any(w.type.rank == 4 for w in folded.values())
    model = nbcnn.compile(graph, passes="none", threads=1)
    assert not any("array" in w.__dict__ for w in folded.values())
    for key, array in before.items():
        np.testing.assert_array_equal(model.graph.weights[key].array, array)
    x = rng.standard_normal((3, 1, 8, 8), dtype=np.float32)
    again = nbcnn.compile(graph, passes="none", threads=1)
    np.testing.assert_array_equal(model(x), again(x))
