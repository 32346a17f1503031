"""The samples of every operator, compiled: what a kernel serves lies within its bound, in either order."""

from __future__ import annotations

import pytest
from single_node import graph_of, served
from sites import compiled, families

from nbcnn import ops, reference

LANES = (pytest.param(16), pytest.param(8, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow))


@pytest.mark.filterwarnings("ignore:invalid value encountered in log")  # rows that a dense layer made
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("name", sorted(set(ops.OPS) - {"fused"}))
def test_samples(name: str, lanes: int, operands) -> None:
    for sample in filter(served, ops.get(name).samples()):
        arrays = operands(sample.op, sample.types, 2, sample.ranges)
        for pixels in (False, True):
            graph, node = graph_of(sample, arrays, pixels)
            model = compiled(graph, lanes)
            if "reference" in families(model):
                continue
            values = model.tap(**{v: arrays[int(v[1:])] for v in graph.inputs})
            read = [values[v] if v in values else graph.weight(v).array for v in node.inputs]
            rounding = next(c.kernel.rounding for c in model.choices if c.site.name == "n")
            found = reference.excess(sample.op, read, [values[v] for v in node.outputs], *rounding)
            assert found <= 1, f"{sample.op} of {sample.types}, pixels {pixels}: {found} times the bound"
