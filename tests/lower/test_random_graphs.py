"""Graphs that Hypothesis draws: optimised and compiled, they give what the reference gives."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conformance import excesses, inputs_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from move_graphs import move_graphs
from strategies import graphs

import nbcnn
from nbcnn import reference
from nbcnn.ir import Graph

SLOW_COMPILES = [HealthCheck.too_slow, HealthCheck.data_too_large]


def check(graph: Graph, passes: str, batch: int, threads: int) -> None:
    """Each node within its bound, and the whole near the float64 reference of the graph as written."""
    inputs = inputs_of(graph, batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what has no kernel runs through the reference, and says so
        model = nbcnn.compile(graph, passes=passes, threads=threads, keep_values=True)
    wrong = {k: e for k, e in excesses(model, inputs).items() if not e <= 1}
    assert not wrong, f"times over the bound: {wrong}"
    outputs = model(**inputs)
    outputs = outputs if isinstance(outputs, dict) else {next(iter(graph.outputs)): outputs}
    expected = reference.run(graph, inputs, dtype=np.float64)
    for name, value in outputs.items():
        scale = np.abs(expected[name]).max() + 1
        # Bounds of single nodes are checked above; this only has to see a wrong graph.
        np.testing.assert_allclose(value, expected[name], atol=1e-3 * scale, err_msg=name)


@given(graph=graphs(), passes=st.sampled_from(["default", "none"]), batch=st.sampled_from([1, 3]))
@settings(max_examples=25, deadline=None, suppress_health_check=SLOW_COMPILES)
def test_compiled_equals_reference(graph: Graph, passes: str, batch: int) -> None:
    check(graph, passes, batch, threads=1)


@given(graph=move_graphs(), passes=st.sampled_from(["default", "none"]), batch=st.sampled_from([1, 3]))
@settings(max_examples=25, deadline=None, suppress_health_check=SLOW_COMPILES)
def test_compiled_moves_equal_the_reference(graph: Graph, passes: str, batch: int) -> None:
    check(graph, passes, batch, threads=1)


@pytest.mark.slow
@given(
    graph=graphs() | move_graphs(),
    passes=st.sampled_from(["default", "none"]),
    batch=st.sampled_from([1, 2, 3]),
    threads=st.sampled_from([1, 2, 3]),
)
@settings(max_examples=200, deadline=None, suppress_health_check=SLOW_COMPILES)
def test_compiled_equals_reference_at_length(graph: Graph, passes: str, batch: int, threads: int) -> None:
    check(graph, passes, batch, threads)
