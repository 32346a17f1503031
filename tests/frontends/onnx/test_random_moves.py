"""Random graphs of moves to ONNX and back: what ONNX Runtime computes of them, and what is read again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from move_graphs import move_graphs
from strategies import arrays

from nbcnn import reference
from nbcnn.frontends.onnx import exporter, importer
from nbcnn.ir import Graph

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(move_graphs())
def test_to_onnx_and_back(graph: Graph) -> None:
    inputs = arrays(graph)
    model = exporter.to_model(graph)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = reference.run(graph, inputs, np.float64)
    found = dict(zip(wanted, session.run(list(wanted), inputs), strict=True))
    again = reference.run(importer.load(model), inputs, np.float64)
    for name, want in wanted.items():
        scale = abs(want).max() + 1e-6
        np.testing.assert_allclose(found[name] / scale, want / scale, atol=1e-4)
        np.testing.assert_allclose(again[name] / scale, want / scale, atol=1e-6)
