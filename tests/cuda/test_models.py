"""Whole networks on the device, held to the float64 reference node by node, and to the CPU's results."""

from __future__ import annotations

import numpy as np
import pytest
from conformance import excesses, excesses_of, inputs_of
from launch_plain import device
from precisions import NARROW, representable, stored

import nbcnn
from nbcnn.lower.device_build import compile_graph
from nbcnn.options import CompileOptions


@pytest.mark.parametrize("name", ["lenet5", "digits", "cifar_cnn", "cifar_sepconv"])
def test_equal_to_the_cpu(name: str) -> None:
    graph = nbcnn.load(name)
    inputs = inputs_of(graph, 1)
    model = nbcnn.compile(graph, target="cuda", keep_values=True)
    assert not [row.node for row in model.explain() if row.family == "reference"]
    values = model.tap(**inputs)
    found = excesses_of(model, values)
    assert max(found.values()) <= 1, found
    for output, wanted in nbcnn.compile(graph, threads=1).run(inputs).items():
        np.testing.assert_allclose(values[output], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", NARROW)
def test_stored_narrower(precision: str) -> None:
    graph = nbcnn.optimize(nbcnn.load("digits"))
    model = compile_graph(graph, CompileOptions(precision=precision, keep_values=True), launcher=device())
    found = excesses(model, representable(inputs_of(graph, 2), precision), stored(precision))
    assert max(found.values()) <= 1, found
