"""The oracle: results, kept values, dtypes, memory, bad inputs, and bounds."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from nbcnn import ops, reference
from nbcnn.errors import GraphError, InputError
from nbcnn.ir import Graph, Node, TensorType, Weight

IMAGE = TensorType(("N", 2, 4, 4))


def residual(rng: np.random.Generator) -> Graph:
    """relu(conv(image) + other), with the public output ``y``."""
    conv = ops.get("conv2d")(2, 3, padding=1)
    weights = {
        name: Weight.of(rng.standard_normal(p.type.shape).astype(np.float32))
        for name, p in conv.params(IMAGE).items()
    }
    nodes = [
        Node("conv", conv, ("image", "weight", "bias"), ("conv",)),
        Node("sum", ops.get("add")(), ("conv", "other"), ("sum",)),
        Node("relu", ops.get("relu")(), ("sum",), ("relu",)),
    ]
    return Graph.build("residual", {"image": IMAGE, "other": IMAGE}, nodes, weights, {"y": "relu"})


@pytest.fixture
def graph(rng) -> Graph:
    return residual(rng)


@pytest.fixture
def inputs(rng) -> dict[str, np.ndarray]:
    return {k: rng.standard_normal((3, 2, 4, 4)).astype(np.float32) for k in ("image", "other")}


def test_run(graph, inputs) -> None:
    results = reference.run(graph, inputs, keep=["conv", "image", "bias"])
    assert list(results) == ["y", "conv", "image", "bias"]
    np.testing.assert_array_equal(results["y"], np.maximum(results["conv"] + inputs["other"], 0))
    np.testing.assert_array_equal(results["image"], inputs["image"])
    assert results["y"].dtype == np.float32


def test_dtype_casts_inputs_and_weights(graph, inputs) -> None:
    exact = reference.run(graph, inputs, np.float64, keep=["bias"])
    assert exact["y"].dtype == exact["bias"].dtype == np.float64
    np.testing.assert_allclose(exact["y"], reference.run(graph, inputs)["y"], rtol=1e-5, atol=1e-5)
    wide = {k: a.astype(np.float64) for k, a in inputs.items()}
    assert reference.run(graph, wide, np.float32)["y"].dtype == np.float32


def test_values_come_in_order(graph, inputs) -> None:
    seen = list(reference.values(graph, inputs))
    assert [node.name for node, _, _ in seen] == ["conv", "sum", "relu"]
    for node, operands, results in seen:
        assert len(operands) == len(node.inputs)
        np.testing.assert_array_equal(results[0], node.op.reference(*operands)[0])


def test_masked_weights_read_as_zero(graph, inputs) -> None:
    mask = np.zeros(graph.weight("weight").type.shape, bool)
    weights = graph.weights | {"weight": graph.weight("weight").masked(mask)}
    pruned = Graph.build("pruned", graph.inputs, graph.nodes, weights, graph.outputs)
    results = reference.run(pruned, inputs, keep=["conv"])
    bias = np.broadcast_to(graph.weight("bias").array[:, None, None], (3, 2, 4, 4))
    np.testing.assert_array_equal(results["conv"], bias)


def test_outputs_may_be_inputs(inputs) -> None:
    graph = Graph.build("none", {"image": IMAGE}, [], {}, {"y": "image"})
    np.testing.assert_array_equal(reference.run(graph, inputs["image"])["y"], inputs["image"])


def test_dead_values_are_freed() -> None:
    type_ = TensorType(("N", 1_000_000))
    add = ops.get("add")()
    names = ["x", *(f"v{i}" for i in range(10))]
    nodes = [Node(b, add, (a, a), (b,)) for a, b in pairwise(names)]
    graph = Graph.build("chain", {"x": type_}, nodes, {}, names[-1:])
    x = np.ones((1, 1_000_000), np.float32)
    tracemalloc.start()
    result = reference.run(graph, x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result["v9"][0, 0] == 1024
    assert peak < 4 * x.nbytes


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x: {"image": x["image"]}, ["'other'", "missing"]),
        (lambda x: x | {"imagee": x["image"]}, ["'imagee'", "did you mean 'image'"]),
        (lambda x: x | {"other": x["other"][:2]}, ["'other'", "[2, 2, 4, 4]", "N = 3"]),
        (lambda x: x | {"image": x["image"][:, :1]}, ["'image'", "[N, 2, 4, 4]", "[3, 1, 4, 4]"]),
        (lambda x: x | {"image": x["image"][0]}, ["'image'", "[2, 4, 4]"]),
        (lambda x: x | {"image": x["image"].astype(np.float64)}, ["float32", "float64"]),
        (lambda x: x["image"], ["image, other", "one array"]),
    ],
)
def test_bad_inputs(graph, inputs, change, words) -> None:
    with pytest.raises(InputError) as caught:
        reference.run(graph, change(inputs))
    for word in words:
        assert word in str(caught.value)


def test_integers_are_no_floats(graph, inputs) -> None:
    with pytest.raises(InputError, match="int64"):
        reference.run(graph, inputs | {"image": np.zeros((3, 2, 4, 4), np.int64)}, np.float64)


def test_unknown_value_to_keep(graph, inputs) -> None:
    with pytest.raises(GraphError, match="'nothing'"):
        reference.run(graph, inputs, keep=["nothing"])


def test_bound_grows_with_factor_and_tile(operands) -> None:
    conv = ops.get("conv2d")(4, 3, padding=1)
    arrays = operands(conv, [TensorType(("N", 3, 8, 8))])
    (once,) = reference.bound(conv, arrays)
    (twice,) = reference.bound(conv, arrays, factor=2)
    (spread,) = reference.bound(conv, arrays, tile=4)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)
    assert (spread >= once).all()
    assert spread[0, 0, 0, 0] == once[0, 0, :4, :4].max()
    (double,) = reference.bound(conv, arrays, np.float64)
    assert (double < once * 1e-8).all()


def test_moves_and_maxima_are_exact(operands) -> None:
    pool = ops.get("max_pool")(2)
    arrays = operands(pool, [IMAGE])
    (y,) = pool.reference(*arrays)
    assert reference.excess(pool, arrays, y) == 0
    assert reference.excess(pool, arrays, np.nextafter(y, np.float32(9))) > 1e20
    assert reference.excess(pool, arrays, y[:, :1]) == np.inf
