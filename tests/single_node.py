"""Graphs of one operator, out of its samples."""

from __future__ import annotations

import numpy as np
from strategies import Builder

from nbcnn.ir import Graph, Node, Sample, Weight
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import MaxPool
from nbcnn.ops.reshape import Reshape


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


def as_pixels(build: Builder, x: str) -> str:
    """``x`` as a kernel leaves it that writes pixels of whole vectors; of many axes, just as it is."""
    rank = build.types[x].rank
    if rank > 5:
        return build(f"{x}.same", Reshape((0, *build.types[x].extents()[1:])), x)
    if rank == 2:
        return build(f"{x}.pixels", Dense(int(build.types[x].shape[1])), x)
    return build(f"{x}.pixels", MaxPool((1,) * (rank - 2)), x)
