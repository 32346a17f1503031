"""Sparse convolutions and their neighbours over whole channels: right at every node, for every geometry."""

from __future__ import annotations

import numpy as np
import pytest
from conformance import excesses, inputs_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Builder

import nbcnn
from nbcnn.ir import Graph
from nbcnn.ir.weight import Sparsity
from nbcnn.kernels.cpu import planes, sparse, sparse_dense
from nbcnn.lower import trial
from nbcnn.lower.model import Model
from nbcnn.ops.activation import Relu, Silu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv1d import Conv1d
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.conv3d import Conv3d
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from nbcnn.ops.reshape import Flatten

RECORDS = (
    sparse.SparseConv,
    sparse_dense.SparseDense,
    planes.PlanesDepthwise,
    planes.PlanesPool,
    planes.PlanesGlobalPool,
    planes.PlanesUnary,
    planes.PlanesConcat,
)


SIZES = {1: [(40,)], 2: [(7, 8), (20, 12)], 3: [(3, 4, 5)]}
"""Extents of drawn images by number of axes: few, since each number of vectors is code of its own."""


@pytest.fixture(autouse=True, scope="module")
def preferred():
    """Kernels over whole channels are taken wherever they can serve."""
    with pytest.MonkeyPatch.context() as patch:
        for record in RECORDS:
            patch.setattr(record, "cost", lambda self, site, target: -1.0)
        patch.setattr(trial, "measure", lambda contests, target, options: contests)
        yield


def mark(build: Builder, conv: str, density: float, block: int = 1) -> None:
    """Zeros in the weight of ``conv``: so many kept, in groups of ``block`` output channels."""
    name = f"{conv}.weight"
    weight = build.weights[name]
    filters, *rest = weight.array.shape
    kept = build.rng.random((-(-filters // block), *rest)) < density
    build.weights[name] = weight.masked(np.repeat(kept, block, axis=0)[:filters]).marked(
        Sparsity(1 - density, block)
    )


def compiled(graph: Graph, threads: int = 1) -> Model:
    return nbcnn.compile(graph, threads=threads, keep_values=True)


def check(graph: Graph, families: set[str], batch: int = 2) -> None:
    """Every node within its bound; two threads give bitwise the same; only ``families`` ran."""
    model = compiled(graph)
    assert {c.kernel.name for c in model.choices} == families
    inputs = inputs_of(model.graph, batch)
    worst = excesses(model, inputs)
    assert max(worst.values()) <= 1, worst
    one, two = model(**inputs), compiled(graph, threads=2)(**inputs)
    np.testing.assert_array_equal(one, two)


@st.composite
def convolutions(draw) -> tuple[Builder, str]:
    rank = draw(st.integers(1, 3))
    cls = (Conv1d, Conv2d, Conv3d)[rank - 1]
    axes = st.tuples(*[st.integers(1, 3)] * rank)
    kernel, dilation = draw(axes), draw(axes) if draw(st.booleans()) else (1,) * rank
    stride = draw(st.sampled_from([(1,) * rank, (2,) * rank, (3,) * rank, (1, 2, 3)[:rank]]))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = draw(st.sampled_from(SIZES[rank]))
    pads = [draw(st.integers(max(r - n, 0), max(r - n, 2))) for r, n in zip(reach, size, strict=True)]
    after = [draw(st.integers(0, 1)) for _ in range(rank)]
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels, filters = groups * draw(st.integers(1, 40)), groups * draw(st.integers(1, 12))
    build = Builder(seed=draw(st.integers(0, 99)))
    x = build.input(channels, *size)
    op = cls(
        filters,
        kernel,
        stride,
        (*pads, *after),
        dilation,
        groups,
        bias=draw(st.booleans()),
        flip=draw(st.booleans()) if rank == 2 else False,
    )
    y = build("conv", op, x)
    block = draw(st.sampled_from([1, 4]))
    mark(build, "conv", draw(st.sampled_from([0.0, 0.1, 0.3, 1.0])), block)
    if draw(st.booleans()):
        y = build("act", Relu(), y)
    return build, y


@given(convolutions(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_convolution(case: tuple[Builder, str], residual: bool) -> None:
    """All ranks, strides, paddings, dilations, groups; no weight left, all left, odd channel counts."""
    build, y = case
    if residual:
        y = build("sum", Add(), y, build.input(*(int(d) for d in build.types[y].shape[1:]), name="z"))
    check(build.graph(y), {"sparse"})


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize(
    "channels, size, op",
    [
        (300, 7, Conv2d(8, 1)),  # several chunks, sums wait between them
        (130, 14, Conv2d(8, 3, padding=1)),
        (70, 28, Conv2d(8, 3, 2, 1)),  # phases
        (70, 29, Conv2d(8, 3, 2, 1)),  # of an odd width
        (96, 9, Conv2d(8, 1, 2)),
        (40, 30, Conv2d(8, 5, padding=2, groups=2)),
    ],
)
def test_shapes_of_networks(channels: int, size: int, op: Conv2d, block: int) -> None:
    build = Builder()
    y = build("conv", op, build.input(channels, size, size))
    mark(build, "conv", 0.2, block)
    check(build.graph(build("relu", Relu(), y)), {"sparse"}, batch=3)


@pytest.mark.parametrize(
    "between, family",
    [
        (MaxPool(2), "planes_pool"),
        (MaxPool(3, 2, 1), "planes_pool"),
        (MaxPool(3, 2, ceil_mode=True), "planes_pool"),
        (MaxPool(3, 1, 1, dilation=1), "planes_pool"),
        (AvgPool(2), "planes_pool"),
        (AvgPool(3, 2, 1, count_include_pad=True), "planes_pool"),
        (AvgPool(3, 1, 1), "planes_pool"),
        (Conv2d(5, 3, padding=1, groups=5), "planes_depthwise"),
        (Conv2d(10, 5, 2, 2, groups=5), "planes_depthwise"),
        (Conv2d(5, 3, 3, groups=5, bias=False), "planes_depthwise"),
        (Silu(), "planes_unary"),
        (GlobalAvgPool(), "planes_global_pool"),
        (GlobalMaxPool(), "planes_global_pool"),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(9, 16), (18, 13)])
def test_neighbours(between, family: str, size: tuple[int, int]) -> None:
    """Pools, depthwise filters and activations between sparse convolutions stay with whole channels."""
    build = Builder(seed=3)
    x = build("first", Conv2d(5, 1), build.input(4, *size))
    mark(build, "first", 0.5)
    y = build("between", between, build("tail", Relu(), x) if family == "planes_unary" else x)
    y = build("last", Conv2d(6, 1), y)
    mark(build, "last", 0.5)
    check(build.graph(y), {"sparse", family})


def test_concat() -> None:
    build = Builder()
    x = build.input(6, 9, 5)
    parts = []
    for i, filters in enumerate((3, 16, 5)):
        parts.append(build(f"conv{i}", Conv2d(filters, 1), x))
        mark(build, f"conv{i}", 0.5)
    y = build("last", Conv2d(6, 3, padding=1), build("concat", Concat(1), *parts))
    mark(build, "last", 0.5)
    check(build.graph(y), {"sparse", "planes_concat"})


@pytest.mark.parametrize("features, outputs", [(300, 37), (9, 4), (14000, 20)])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_fully_connected(features: int, outputs: int, density: float) -> None:
    build = Builder()
    y = build("fc", Dense(outputs), build.input(features))
    mark(build, "fc", density)
    check(build.graph(build("relu", Relu(), y)), {"sparse_dense"}, batch=3)


@pytest.mark.parametrize("channels", [5, 16])
def test_fully_connected_on_an_image(channels: int) -> None:
    """The image is not moved: weights find its pixels where they lie."""
    build = Builder()
    x = build("conv", Conv2d(channels, 1), build.input(8, 3, 4))
    y = build("fc", Dense(11), build("flatten", Flatten(), x))
    mark(build, "fc", 0.3)
    check(build.graph(y), {"igemm", "alias", "sparse_dense"}, batch=3)


def test_dense_weights_are_refused() -> None:
    build = Builder()
    y = build("conv", Conv2d(8, 3), build.input(4, 8, 8))
    model = compiled(build.graph(y))
    (choice,) = model.choices
    reasons = {c.kernel: c.reason for c in choice.candidates}
    assert choice.kernel.name != "sparse" and reasons["sparse"] == "its weight is not marked as sparse"


def test_depthwise_refuses_what_is_not() -> None:
    build = Builder()
    y = build("conv", Conv2d(8, 3, groups=2), build.input(4, 8, 8))
    (choice,) = compiled(build.graph(y)).choices
    reasons = {c.kernel: c.reason for c in choice.candidates}
    assert "not depthwise" in str(reasons["planes_depthwise"])
