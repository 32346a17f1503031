"""The samples of every operator, compiled for the device: what a kernel serves lies within its bound."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import tensor_bounds
from launch_plain import device
from precisions import stored
from single_node import graph_of, served

from nbcnn import ops, reference
from nbcnn.ir import Sample
from nbcnn.kernels.cuda.packing import from_kind, to_kind
from nbcnn.kernels.layouts import PLAIN
from nbcnn.lower.device_build import compile_graph
from nbcnn.options import CompileOptions
from nbcnn.target import STORED as KINDS

LARGEST = {"float32": np.inf, "float16": 65504.0, "bfloat16": np.inf}
"""The largest number that is stored."""

ROOM = 20_000
"""Elements of operands and results, and multiply-adds, that the simulator is troubled with."""


def small(sample: Sample) -> bool:
    """Whether it is worth a simulator's time."""
    outs = sample.op.infer(*sample.types)
    elements = sum(math.prod(t.extents(2)) for t in (*sample.types, *outs))
    return max(elements, sample.op.macs([*sample.types], outs)) <= ROOM


@pytest.mark.filterwarnings("ignore:invalid value encountered in log")  # rows that a dense layer made
@pytest.mark.filterwarnings("ignore:divide by zero encountered in log")
@pytest.mark.parametrize(
    "precision", ["float32", "float16", pytest.param("bfloat16", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", sorted(set(ops.OPS) - {"fused"}))
def test_samples(name: str, precision: str, operands) -> None:
    kind = KINDS[precision]
    for sample in filter(served, ops.get(name).samples()):
        if not small(sample):
            continue
        arrays = operands(sample.op, sample.types, 2, sample.ranges)
        for pixels in (False, True) if precision == "float32" else (True,):
            graph, node = graph_of(sample, arrays, pixels)
            options = CompileOptions(precision=precision, keep_values=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of operators without a kernel
                model = compile_graph(graph, options, launcher=device())
            if any(row.family == "reference" for row in model.explain()):
                continue
            values = model.tap(**{v: arrays[int(v[1:])] for v in graph.inputs})
            choice = next(c for c in model.choices if c.site.name == "n")
            read = [values[v] if v in values else graph.weight(v).array for v in node.inputs]
            for slot in range(len(choice.site.data)):
                if not choice.kernel.accepts(choice.site, slot, PLAIN):  # rounded where they become pixels
                    read[slot] = from_kind(kind, to_kind(kind, read[slot])).astype(np.float32)
            if any(abs(r).max(initial=0) > LARGEST[precision] for r in sample.op.reference(*read)):
                continue
            results = [values[v] for v in node.outputs]
            rounding = choice.kernel.rounding
            if choice.kernel.name.startswith("tensor_"):  # operands are rounded, too
                data, weights = read[: len(choice.site.data)], read[len(choice.site.data) :]
                found = tensor_bounds.excess(sample.op, data, weights, results, precision, choice.kernel.name)
            else:
                found = reference.excess(sample.op, read, results, *rounding, stored(precision))
            assert found <= 1, f"{sample.op} of {sample.types}, pixels {pixels}: {found} times the bound"
