"""gather: embeddings, and slices that fixed indices pick."""

from __future__ import annotations

import numpy as np
import pytest
from single_node import as_pixels
from sites import LANES, check, compiled, families
from strategies import Builder

from nbcnn.errors import InputError
from nbcnn.ir import Graph, TensorType, Weight
from nbcnn.ops.gather import Gather


def embedding(dtype: str, words: int, width: int, *shape: int) -> Graph:
    build = Builder()
    build.weight("table", build.rng.normal(size=(words, width)))
    build.inputs["words"] = build.types["words"] = TensorType(("N", *shape), dtype)
    return build.graph(build("y", Gather(0), "table", "words"))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", ("int32", "int64"))
@pytest.mark.parametrize("width, shape", [(37, (7,)), (5, (2, 3)), (64, (9,)), (1, (4,))])
def test_embedding(lanes: int, dtype: str, width: int, shape: tuple[int, ...]) -> None:
    graph = embedding(dtype, 11, width, *shape)
    table = graph.weight("table").array
    for threads in (1, 2):
        model = compiled(graph, lanes, threads)
        assert "gather" in families(model)
        for batch in (1, 3):
            words = np.random.default_rng(0).integers(-11, 11, (batch, *shape)).astype(dtype)
            np.testing.assert_array_equal(model(words), table[words])


@pytest.mark.parametrize("wrong", (11, -12, 2**40))
def test_an_index_outside_is_an_input_error(wrong: int) -> None:
    model = compiled(embedding("int64", 11, 5, 3), 16)
    with pytest.raises(InputError, match=f"{wrong} lies outside an axis of 11"):
        model(np.array([[0, wrong, 1]]))
    assert model(np.array([[0, 10, 1]])).shape == (1, 3, 5)


@pytest.mark.parametrize("axis", (1, 2, 3))
@pytest.mark.parametrize("indices", ([0, 2, 2, -1], [[1, 0], [-3, 2]], 1), ids=str)
def test_fixed_indices(axis: int, indices) -> None:
    build = Builder()
    x = build.input(21, 5, 7)
    build.weights["at"] = Weight.of(np.array(indices, np.int64))
    build.types["at"] = build.weights["at"].type
    graph = build.graph(
        build("a", Gather(axis), x, "at"), build("b", Gather(axis), as_pixels(build, x), "at")
    )
    check(graph)
