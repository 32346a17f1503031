"""Every node of the zoo is served on a GPU, and every sample that a kernel of the CPU serves."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from single_node import graph_of, served

import nbcnn
from nbcnn import ops, resources
from nbcnn.ir import Graph
from nbcnn.kernels import cpu, cuda
from nbcnn.lower import select
from nbcnn.options import PRECISIONS, CompileOptions
from nbcnn.target import CudaTarget, detect

H200 = CudaTarget("NVIDIA H200", (9, 0), 132, 227 << 10)
OLDER = CudaTarget("NVIDIA T4", (7, 5), 40, 64 << 10)


@cache
def optimised(name: str) -> Graph:
    return nbcnn.optimize(nbcnn.load(name))


def unserved(graph: Graph, target: CudaTarget) -> list[str]:
    """The sites that no kernel serves, and why not."""
    options = CompileOptions(precision=target.precision)
    return [
        f"{c.site.name} ({c.site.op.name}): {'; '.join(str(r.reason) for r in c.refused)}"
        for c in select.contests(graph, cuda.kernels(), target, options)
        if not c.offers
    ]


@pytest.mark.parametrize("target, precision", [(H200, "float32"), (H200, "float16"), (OLDER, "float16")])
@pytest.mark.parametrize("name", resources.names("graphs"))
def test_zoo(name: str, target: CudaTarget, precision: str) -> None:
    assert unserved(optimised(name), replace(target, precision=precision)) == []


@pytest.mark.parametrize("name", sorted(set(ops.OPS) - {"fused"}))
def test_samples_that_the_cpu_serves(name: str, operands) -> None:
    for sample in filter(served, ops.get(name).samples()):
        graph, _ = graph_of(sample, operands(sample.op, sample.types, 2, sample.ranges), False)
        table, here = cpu.kernels(), detect()
        if all(c.offers for c in select.contests(graph, table, here, CompileOptions())):
            for precision in PRECISIONS:
                assert unserved(graph, replace(H200, precision=precision)) == []
