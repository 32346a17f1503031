"""gather: embeddings, and slices that fixed indices pick."""

from __future__ import annotations

import numpy as np
import pytest
from device_graphs import as_pixels, check, compiled, families, refusal
from strategies import Builder

from nbcnn.errors import InputError, NbcnnError
from nbcnn.ir import Graph, TensorType, Weight
from nbcnn.kernels.cuda import gather
from nbcnn.ops.gather import Gather


def embedding(dtype: str, words: int, width: int, *shape: int) -> Graph:
    build = Builder()
    build.weight("table", build.rng.normal(size=(words, width)))
    build.inputs["words"] = build.types["words"] = TensorType(("N", *shape), dtype)
    return build.graph(build("y", Gather(0), "table", "words"))


@pytest.mark.parametrize("dtype", ("int32", "int64"))
@pytest.mark.parametrize("width, shape", [(9, (3,)), (4, (2, 3)), (1, (4,))])
@pytest.mark.parametrize("limit", (1 << 30, 16))
def test_embedding(
    dtype: str, width: int, shape: tuple[int, ...], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "LIMIT", limit)
    graph = embedding(dtype, 11, width, *shape)
    model = compiled(graph)
    assert "reference" not in families(model)
    for batch in (1, 2):
        words = np.random.default_rng(batch).integers(-11, 11, (batch, *shape)).astype(dtype)
        got = model.run({"words": words})["y"]
        np.testing.assert_array_equal(got, graph.weight("table").array[words])


@pytest.mark.parametrize("wrong", (11, -12, 2**40))
def test_an_index_outside_is_an_input_error(wrong: int) -> None:
    model = compiled(embedding("int64", 11, 5, 3))
    with pytest.raises(InputError, match=f"{wrong} lies outside an axis of 11"):
        model.run({"words": np.array([[0, wrong, 1]])})
    assert model.run({"words": np.array([[0, 10, 1]])})["y"].shape == (1, 3, 5)


@pytest.mark.parametrize("limit", (1 << 30, 20))
@pytest.mark.parametrize("axis", (1, 2, 3))
@pytest.mark.parametrize("indices", ([0, 2, -1], [[1, 0], [-3, 2]], 1), ids=str)
def test_fixed_indices(axis: int, indices, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "LIMIT", limit)
    build = Builder()
    x = build.input(5, 3, 4)
    build.weights["at"] = Weight.of(np.array(indices, np.int64))
    build.types["at"] = build.weights["at"].type
    graph = build.graph(
        build("a", Gather(axis), x, "at"), build("b", Gather(axis), as_pixels(build, x), "at")
    )
    check(graph, precisions=("float32", "float16"))


def test_too_long_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "LIMIT", 8)
    with pytest.raises(NbcnnError, match="y: rows of 9 elements are too long"):
        compiled(embedding("int64", 11, 9, 3))


def test_refused() -> None:
    image, two = TensorType(("N", 6, 5)), TensorType((2,), "int64")
    assert refusal(gather.Gather(), Gather(1), image, two)  # indices that are not known
    assert refusal(gather.Gather(), Gather(1), TensorType(("N", 6), "int64"), two)
