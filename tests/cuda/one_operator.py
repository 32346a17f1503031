"""One operator on a device: as a graph of its own, or as a site for its record."""

from __future__ import annotations

import warnings

import numpy as np
from launch_plain import KINDS, device
from precisions import ROUNDOFF

from nbcnn import reference
from nbcnn.ir import Graph, Node, Op, TensorType, Weight
from nbcnn.kernels.base import Site
from nbcnn.lower.device_build import compile_graph
from nbcnn.options import CompileOptions


def coarse(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of 8 bits, which every type of images has, none of them 0."""
    return np.asarray(rng.choice([-1, 1], shape) * rng.integers(1, 200, shape) / 64, np.float32)


def check(graph: Graph, kind: str, rng: np.random.Generator, *batches: int) -> None:
    """Each node of ``graph`` stays within its bound, and no reference computes it."""
    options = CompileOptions(precision=KINDS[kind], keep_values=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "no kernel yet"
        model = compile_graph(graph, options, launcher=device())
    for batch in batches or (1, 2):
        inputs = {name: coarse(rng, t.extents(batch)) for name, t in graph.inputs.items()}
        values = model.tap(**inputs)
        for node in graph.nodes:
            read = [graph.weight(v).array if graph.is_weight(v) else values[v] for v in node.inputs]
            found = reference.excess(node.op, read, [values[v] for v in node.outputs], stored=ROUNDOFF[kind])
            assert found <= 1, f"{node.op}: {found} times the bound"


def one(op: Op, *shapes: tuple, rng: np.random.Generator) -> Graph:
    """``op`` alone; operands that do not begin with the batch are constants."""
    names = [f"in{i}" for i in range(len(shapes))]
    types = {n: TensorType(s) for n, s in zip(names, shapes, strict=True)}
    fixed = {n: Weight.of(coarse(rng, t.extents(1))) for n, t in types.items() if t.shape[:1] != ("N",)}
    inputs = {n: t for n, t in types.items() if n not in fixed}
    return Graph.build("one", inputs, [Node("y", op, tuple(names), ("y",))], fixed, ("y",))


def site(op: Op, *types: TensorType, weights: tuple[np.ndarray, ...] = ()) -> Site:
    """``op`` on operands of ``types`` and on weights."""
    data = tuple(f"in{i}" for i in range(len(types)))
    held = tuple((f"w{i}", Weight.of(array)) for i, array in enumerate(weights))
    return Site("n", op, data, held, ("y",), types, op.infer(*types))
