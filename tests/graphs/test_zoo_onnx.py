"""Every model of the zoo through ONNX: ONNX Runtime agrees, and what is read back is what was written."""

from __future__ import annotations

import numpy as np
import pytest
from zoo import models

import nbcnn
from nbcnn.debug.inputs import seeded
from nbcnn.ir import Graph
from nbcnn.ops.fused import Fused

pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

TRANSPOSED = ("convnext_tiny",)
"""Models with a layer_norm over channels: ONNX normalises last axes only, so that it travels transposed."""


@pytest.mark.parametrize("name", models())
def test_there_and_back(name: str, tmp_path) -> None:
    graph, file = nbcnn.load(name), tmp_path / "model.onnx"
    nbcnn.to_onnx(graph, file)
    inputs = seeded(graph)
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = dict(zip(names, session.run(None, inputs), strict=True))
    got = nbcnn.compile(graph).run(inputs)
    assert got.keys() == wanted.keys()
    for key, want in wanted.items():
        assert np.ptp(want) > 0
        np.testing.assert_allclose(got[key], want, rtol=0, atol=1e-4 * abs(want).max())

    again = nbcnn.from_onnx(file)
    assert again.inputs == graph.inputs
    assert again.weights.keys() >= graph.weights.keys()  # a gelu of older opsets has constants
    for key, weight in graph.weights.items():
        np.testing.assert_array_equal(again.weight(key).array, weight.array)
    if name not in TRANSPOSED:
        assert form(again) == form(graph)
    back = nbcnn.compile(again).run(inputs)
    for key, value in got.items():
        np.testing.assert_allclose(back[key], value, rtol=0, atol=1e-5 * abs(value).max())


def form(graph: Graph) -> list[tuple[str, ...]]:
    """What the default passes make of ``graph``: the operators of each node, in order."""
    bodies = [n.op.body.nodes if isinstance(n.op, Fused) else [n] for n in nbcnn.optimize(graph).nodes]
    return [tuple(part.op.name for part in body) for body in bodies]
