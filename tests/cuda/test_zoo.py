"""Every model of the zoo on a GPU, in every precision: each node within its bound. Hours in the simulator."""

from __future__ import annotations

import pytest
from conformance import excesses, inputs_of
from launch_plain import device
from precisions import representable, stored

import nbcnn
from nbcnn import resources
from nbcnn.lower.device_build import compile_graph
from nbcnn.options import PRECISIONS, CompileOptions
from nbcnn.runtime.cuda.launcher import simulated

pytestmark = [pytest.mark.slow, pytest.mark.skipif(simulated(), reason="a whole network takes a real GPU")]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", resources.names("graphs"))
def test_nodes(name: str, precision: str) -> None:
    graph = nbcnn.optimize(nbcnn.load(name))
    model = compile_graph(graph, CompileOptions(precision=precision, keep_values=True), launcher=device())
    inputs = representable(inputs_of(graph, 2), precision)
    found = excesses(model, inputs, stored(precision))
    wrong = {node: excess for node, excess in found.items() if not excess <= 1}
    assert not wrong, wrong
