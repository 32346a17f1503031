"""The samples of every operator, compiled: what a kernel serves lies within its bound, in either order."""

from __future__ import annotations

import numpy as np
import pytest
from sites import as_pixels, compiled, families
from strategies import Builder

from nbcnn import ops, reference
from nbcnn.ir import Graph, Node, Sample, Weight

LANES = (pytest.param(16), pytest.param(8, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow))


def graph_of(sample: Sample, arrays: list[np.ndarray], pixels: bool) -> tuple[Graph, Node]:
    """The operator alone; operands with a batch are inputs, or pixels that a kernel wrote of them."""
    build, names = Builder(), []
    for i, type_ in enumerate(sample.types):
        name = f"x{i}"
        if type_.shape[:1] == ("N",):
            build.inputs[name] = build.types[name] = type_
            movable = type_.dtype == "float32" and type_.rank > 1 and 0 not in type_.shape
            names.append(as_pixels(build, name) if pixels and movable else name)
        else:
            build.weights[name], build.types[name] = Weight.of(arrays[i]), type_
            names.append(name)
    types = [build.types[v] for v in names]
    weights = [f"n.{slot}" for slot in sample.op.params(*types)]
    for weight, array in zip(weights, arrays[len(sample.types) :], strict=True):
        build.weight(weight, array)
    outputs = tuple(f"y{i}" for i in range(len(sample.op.infer(*types))))
    node = Node("n", sample.op, (*names, *weights), outputs)
    build.nodes.append(node)
    return build.graph(*outputs), node


def served(sample: Sample) -> bool:
    """Whether a kernel may serve it: floats in front, with a batch, all extents known."""
    if sample.error or not sample.types or sample.types[0].shape[:1] != ("N",):
        return False
    return all(t.dtype in ("float32", "int32", "int64") and not t.symbols() - {"N"} for t in sample.types)


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
