"""split: parts that begin at a whole vector are read where they lie, others are copied."""

from __future__ import annotations

import numpy as np
import pytest
from conformance import excesses, inputs_of
from strategies import Builder

import nbcnn
from nbcnn.ir import Graph, Node
from nbcnn.ops.activation import Relu
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import GlobalAvgPool, MaxPool
from nbcnn.ops.reshape import Flatten
from nbcnn.ops.softmax import Softmax
from nbcnn.ops.split import Split
from nbcnn.target import detect

LANES = detect().lanes


def split(build: Builder, x: str, *sizes: int, axis: int = 1) -> list[str]:
    op = Split(sizes, axis)
    parts = [f"part{i}" for i in range(len(sizes))]
    build.types.update(zip(parts, op.infer(build.types[x]), strict=True))
    build.nodes.append(Node("split", op, (x,), tuple(parts)))
    return parts


def readers(build: Builder, parts: list[str]) -> list[str]:
    """Every kind of kernel reads a part."""
    found = []
    for i, part in enumerate(parts):
        c = int(build.types[part].shape[1])
        found += [
            build(f"conv{i}", Conv2d(c, 1), part),
            build(f"wide{i}", Conv2d(3, 3, padding=1), part),
            build(f"depth{i}", Conv2d(c, 3, padding=1, groups=c), part),
            build(f"pool{i}", MaxPool(3, 2, 1), part),
            build(f"gap{i}", GlobalAvgPool(), part),
            build(f"act{i}", Relu(), part),
            build(f"soft{i}", Softmax(axis=1), part),
            build(f"dense{i}", Dense(5), build(f"flat{i}", Flatten(), part)),
        ]
    return [*found, *parts]


def check(graph: Graph, batch: int = 2) -> nbcnn.Model:
    model = nbcnn.compile(graph, passes="none", threads=2, keep_values=True)
    found = excesses(model, inputs_of(graph, batch))
    assert max(found.values()) <= 1, found
    return model


def copies(model: nbcnn.Model) -> int:
    return sum(row.op == "split" for row in model.explain())


@pytest.mark.parametrize(
    "sizes, expected",
    [((LANES, LANES), 0), ((2 * LANES, 5), 0), ((5, LANES), 1), ((LANES, 3, LANES, 2), 2), ((7,), 0)],
    ids=str,
)
def test_parts_lie_in_the_whole_where_vectors_allow(sizes, expected) -> None:
    build = Builder()
    x = build("whole", Conv2d(sum(sizes), 1), build.input(4, 6, 5))
    parts = split(build, x, *sizes)
    model = check(build.graph(*readers(build, parts), build("cat", Concat(), *reversed(parts))))
    assert copies(model) == expected
    assert {row.family for row in model.explain() if row.op == "split"} <= {"split"}


def test_rows() -> None:
    build = Builder()
    x = build("whole", Dense(LANES + 6), build.input(9))
    parts = split(build, x, LANES, 4, 2)
    model = check(build.graph(*(build(f"d{i}", Dense(3), p) for i, p in enumerate(parts)), *parts))
    assert copies(model) == 1


def test_other_axes_are_copied() -> None:
    build = Builder()
    x = build("whole", Conv2d(4, 1), build.input(4, 6, 5))
    model = check(build.graph(*split(build, x, 2, 4, axis=2)))
    assert copies(model) == 2


def test_a_split_of_a_concatenation_of_splits() -> None:
    build = Builder()
    x = build("whole", Conv2d(2 * LANES, 1), build.input(4, 6, 5))
    a, b = split(build, x, LANES, LANES)
    y = build("cat", Concat(), build("act", Relu(), b), a)
    op = Split((LANES, LANES))
    build.types |= dict(zip(("c", "d"), op.infer(build.types[y]), strict=True))
    build.nodes.append(Node("again", op, (y,), ("c", "d")))
    check(build.graph("c", build("out", Conv2d(3, 3), "d")))


def test_merged_branches_give_what_they_gave() -> None:
    build = Builder()
    x = build.input(8, 9, 9)
    parts = [build(f"r{i}", Relu(), build(f"c{i}", Conv2d(n, 1), x)) for i, n in enumerate((LANES, 5, 3))]
    graph = nbcnn.optimize(build.graph(*readers(build, parts)))
    merged = nbcnn.optimize(graph, "merge-convs")
    assert any(node.op.name == "split" for node in merged.nodes)
    inputs = inputs_of(graph, 3)
    one, other = (nbcnn.compile(g, passes="none", threads=1)(**inputs) for g in (graph, merged))
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-4, atol=1e-5)
