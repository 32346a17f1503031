"""Sparse convolutions and their neighbours over whole channels: right at every node, for every geometry."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from conformance import excesses, inputs_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Builder

import nbcnn
from nbcnn.ir import Graph, TensorType
from nbcnn.ir.weight import Sparsity, Weight
from nbcnn.kernels.base import Store
from nbcnn.kernels.cpu import planes, sparse, sparse_dense
from nbcnn.kernels.cpu.walk import GATHER, SHIFT, Walk
from nbcnn.lower import trial
from nbcnn.lower.model import Model
from nbcnn.lower.select import Contest, contest, site_of
from nbcnn.ops.activation import Relu, Silu
from nbcnn.ops.arithmetic import Add
from nbcnn.ops.concat import Concat
from nbcnn.ops.conv1d import Conv1d
from nbcnn.ops.conv2d import Conv2d
from nbcnn.ops.conv3d import Conv3d
from nbcnn.ops.dense import Dense
from nbcnn.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from nbcnn.ops.reshape import Flatten
from nbcnn.options import CompileOptions
from nbcnn.target import detect

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
        patch.setattr(trial, "measure", lambda contests, *_: contests)
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


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("height", [1, 2, 5])
def test_phases_of_any_width(height: int, kernel: int, monkeypatch) -> None:
    """Rows shorter than a vector, than two, just as long, and one longer."""
    monkeypatch.setattr(planes.PlanesDepthwise, "on_trial", True)
    for width in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 30, 31, 32, 33, 34, 47, 63, 64, 65, 66, 99):
        build = Builder(seed=width)
        pads = (kernel // 2, kernel // 2, 1, kernel - 1 - kernel // 2)  # out is half as wide, rounded up
        y = build("conv", Conv2d(3, kernel, 2, pads, groups=3), build.input(3, height, width))
        assert build.types[y].shape[3] == -(-width // 2)
        check(build.graph(y), {"planes_depthwise"}, batch=1 + width % 2)


@pytest.mark.parametrize("below", [1, 7])
@pytest.mark.parametrize("op", [Conv2d, MaxPool, AvgPool])
def test_strides_into_the_padding_below(op, below: int) -> None:
    """Rows of the output that read nothing but padding: a plane of phases ends above them."""
    build = Builder()
    x = build("conv", Conv2d(5, 1), build.input(5, 8, 8))
    mark(build, "conv", 0.5)
    if op is Conv2d:
        y = build("next", Conv2d(8, 1, 2, (0, 0, below, 0)), x)
        mark(build, "next", 0.5)
    else:
        kernel = below + 1
        y = build("next", op((kernel, 1), 2, (0, 0, below, 0)), x)
        y = build("last", Conv2d(6, 1), y)
        mark(build, "last", 0.5)
    check(build.graph(y), {"sparse"} if op is Conv2d else {"sparse", "planes_pool"})


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_tables_say_what_lies_inside(lanes: int, shift: bool) -> None:
    size, kernel, before, dilation = (5, 9), (3, 2), (2, 1), (2, 1)
    out, stride = ((5, 9), (1, 1)) if shift else ((4, 3), (1, 3))
    walk = Walk(size, out, kernel, stride, dilation, before, lanes)
    assert walk.mode == (SHIFT if shift else GATHER) and walk.excess is None
    table, shifts = walk.inside(Store()), walk.shifts(Store())
    pixels = walk.vectors * lanes
    for tap, k in enumerate(np.ndindex(kernel)):
        bits = (table[tap, :, None] >> np.arange(lanes)) & 1 if shift else None
        lies = bits.reshape(pixels) if bits is not None else table[tap]
        for number, o in enumerate(np.ndindex(out)):
            at = [o[i] * stride[i] + k[i] * dilation[i] - before[i] for i in range(2)]
            inside = all(0 <= a < n for a, n in zip(at, size, strict=True))
            if not shift:
                assert lies[number] == (at[0] * size[1] + at[1] if inside else -1)
            else:
                assert lies[number] == inside
                assert not inside or number + shifts[tap] == at[0] * size[1] + at[1]
        assert not (lies[out[0] * out[1] :] > 0).any()


def huge(size: tuple[int, int], kernel: tuple[int, int] = (1, 1), channels: int = 1) -> Contest:
    """The contest of a sparse convolution of an image that nobody has in memory."""
    build = Builder()
    build.input(channels, 8 + kernel[0], 8 + kernel[1])
    build("conv", Conv2d(4, kernel), "x")
    mark(build, "conv", 0.5)
    site = site_of(build.graph("conv"), build.nodes[0])
    x = TensorType(("N", channels, *size))
    site = replace(site, in_types=(x,), out_types=site.op.infer(x))
    return contest(site, "N", (sparse.SparseConv(),), detect(), CompileOptions(threads=1))


@pytest.mark.parametrize(
    "given, reason",
    [
        ({"size": (1 << 16, 1 << 15)}, "planes of 2,147,483,.* are too large: offsets have 32 bits"),
        ({"size": (1 << 14, 1 << 13), "channels": 4}, "images of 536,870,912 floats are too large"),
        ({"size": (1 << 14, 1 << 13), "channels": 3}, None),
        ({"size": (1 << 14, 1 << 14), "kernel": (7, 7)}, "kernel and image are too large: .* over the limit"),
    ],
)
def test_images_beyond_offsets_of_32_bits_are_refused(given: dict, reason: str | None) -> None:
    found = huge(**given)
    if reason is None:
        assert len(found.offers) == 1
    else:
        assert re.search(reason, found.refused[0].reason or ""), found.refused


def test_rows_beyond_offsets_of_32_bits_are_refused() -> None:
    build = Builder()
    build("fc", Dense(4), build.input(8))
    mark(build, "fc", 0.5)
    site = site_of(build.graph("fc"), build.nodes[0])
    record, target, options = sparse_dense.SparseDense(), detect(), CompileOptions(threads=1)
    assert record.refuse(site, target, options) is None
    site = replace(site, in_types=(TensorType(("N", (1 << 29) // target.lanes)),))
    assert "offsets have 32 bits" in (record.refuse(site, target, options) or "")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_multiplied(bad: float) -> None:
    build = Builder()
    y = build("conv", Conv2d(8, 3, padding=1), build.input(4, 8, 8))
    mark(build, "conv", 0.5)
    weight = build.weights["conv.weight"]
    array = weight.array.copy()
    array[3, 1, 1, 1] = bad
    build.weights["conv.weight"] = Weight.of(array).marked(weight.sparsity)
    model = compiled(build.graph(y))
    assert {c.kernel.name for c in model.choices} == {"sparse"}
    found = np.isfinite(np.asarray(model(**inputs_of(model.graph, 1)))).all(axis=(0, 2, 3))
    assert found.tolist() == [True, True, True, False, True, True, True, True]


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
