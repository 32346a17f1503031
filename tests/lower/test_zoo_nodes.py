"""Every node of every zoo model, tapped from the compiled program and held to its bound.

The lanes are varied here, FMA by running the file again on an imitated CPU (see `.ci/full`). Two
threads and several batch sizes must give the very bits that one thread and one image give.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conformance import excesses, inputs_of
from zoo import models

import nbcnn
from nbcnn.lower.build import compile_graph
from nbcnn.options import CompileOptions
from nbcnn.target import detect


@pytest.mark.parametrize("lanes", (16, 8, 4))
@pytest.mark.parametrize("passes", ("default", "none"))
@pytest.mark.parametrize("name", models())
def test_every_node_is_within_its_bound(name: str, passes: str, lanes: int) -> None:
    graph = nbcnn.optimize(nbcnn.load(name), passes)
    here = detect()
    target = dataclasses.replace(here, lanes=lanes, registers=here.registers if lanes == here.lanes else 16)
    inputs = inputs_of(graph, 3)
    tapped = {}
    for threads in (1, 2):
        options = CompileOptions(threads=threads, keep_values=True)
        model = compile_graph(graph, options, target=target)
        for batch in (1, 3):
            part = {k: x[:batch] for k, x in inputs.items()}
            tapped[threads, batch] = model.tap(**part)
            if threads == 1:
                wrong = {k: e for k, e in excesses(model, part).items() if not e <= 1}
                assert not wrong, f"times over the bound: {wrong}"
    for batch in (1, 3):
        for value, expected in tapped[1, batch].items():
            np.testing.assert_array_equal(tapped[2, batch][value], expected, err_msg=value)
