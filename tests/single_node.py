"""Graphs of one operator, out of its samples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from strategies import Builder

from nbcnn.ir import Graph, Node, Sample, Weight
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import MaxPool
from nbcnn.ops.reshape import Reshape
from nbcnn.ops.split import Split


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


def sources(build: Builder, *shape: int) -> list[str]:
    """A value as the caller gives it, and one that a kernel wrote."""
    x = build.input(*shape)
    return [x, as_pixels(build, x)]


def split_apart(build: Builder, values: Iterable[str], axis: int) -> list[str]:
    """The parts of each value: its first along ``axis``, and the others if there are any."""
    outputs: list[str] = []
    for number, value in enumerate(values):
        extent = int(build.types[value].shape[axis])
        op = Split((1, extent - 1) if extent > 1 else (1,), axis)
        types = op.infer(build.types[value])
        parts = [f"part{number}.{i}" for i in range(len(types))]
        build.types |= dict(zip(parts, types, strict=True))
        build.nodes.append(Node(f"split{number}", op, (value,), tuple(parts)))
        outputs += parts
    return outputs
