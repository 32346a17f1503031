"""When Winograd serves a convolution, when it refuses or is not worth it, and what programs with it give."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conformance import excesses, inputs_of
from strategies import Builder

import nbcnn
from nbcnn.ir import Graph, Weight
from nbcnn.kernels.base import Store
from nbcnn.kernels.cpu import kernels, winograd
from nbcnn.kernels.cpu.conv import IndirectConv
from nbcnn.kernels.cpu.winograd import Winograd2, Winograd4
from nbcnn.lower import build as lower_build
from nbcnn.lower.assign import assign
from nbcnn.lower.build import compile_graph
from nbcnn.lower.select import contest, site_of
from nbcnn.ops.activation import Relu, Sigmoid, Silu
from nbcnn.ops.arithmetic import Add, Mul
from nbcnn.ops.conv2d import Conv2d
from nbcnn.options import CompileOptions
from nbcnn.target import Target, detect

ZEN5 = Target("cpu", "znver5", "", 16, True, 32, 48 << 10, 1 << 20, 32 << 20)


def layer(channels: int, filters: int, plane: int, **options) -> Graph:
    build = Builder()
    x = build.input(channels, plane, plane)
    return build.graph(build("conv", Conv2d(filters, 3, **{"padding": 1, **options}), x))


def refusal(graph: Graph, **options) -> str | None:
    site = site_of(graph, graph.nodes[-1])
    return Winograd4().refuse(site, ZEN5, CompileOptions(**options))


def test_serves_3x3_convolutions_of_stride_1():
    assert refusal(layer(16, 16, 8)) is None
    assert refusal(layer(64, 8, 8, padding=(0, 1, 2, 0), bias=False, flip=True)) is None


@pytest.mark.parametrize(
    "graph,word",
    [
        (layer(16, 16, 8, stride=2), "stride 1"),
        (layer(16, 16, 8, dilation=2), "undilated"),
        (layer(16, 16, 8, groups=2), "grouped"),
        (layer(8, 16, 8), "8 input channels"),
    ],
)
def test_refuses_other_convolutions(graph, word):
    assert word in refusal(graph)


def test_refuses_other_kernels_and_operators():
    build = Builder()
    x = build.input(16, 8, 8)
    assert "3x3" in refusal(build.graph(build("conv", Conv2d(16, (3, 1)), x)))
    assert "relu" in refusal(build.graph(build("relu", Relu(), x)))


def test_refuses_when_switched_off():
    assert "option" in refusal(layer(64, 64, 56), winograd=False)


def test_refuses_what_it_cannot_finish():
    build = Builder()
    x = build.input(16, 8, 8)
    conv = build("conv", Conv2d(16, 3, padding=1), x)
    graph = nbcnn.optimize(build.graph(build("mul", Mul(), conv, x)))
    assert refusal(graph) is not None


@pytest.mark.parametrize(
    "channels,filters,plane,kernel",
    [
        (64, 64, 56, "winograd4"),
        (128, 128, 28, "winograd4"),
        (256, 256, 14, "winograd4"),
        (512, 512, 7, "winograd2"),
        (64, 64, 224, "winograd4"),
        (512, 512, 28, "winograd4"),
        (512, 512, 14, "winograd4"),
        (16, 64, 55, "winograd4"),
        (64, 256, 13, "winograd4"),
        (512, 512, 2, "igemm"),
        (512, 512, 1, "igemm"),
    ],
)
def test_is_chosen_where_it_was_measured_faster(channels, filters, plane, kernel):
    graph = layer(channels, filters, plane)
    site = site_of(graph, graph.nodes[-1])
    (choice,) = assign([contest(site, "N", kernels(), ZEN5, CompileOptions())])
    assert choice.kernel.name == kernel


@pytest.mark.parametrize("tile", [2, 4])
def test_pack(rng, tile):
    filters = rng.standard_normal((5, 3, 3, 3)).astype(np.float32)
    for flip in (False, True):
        packed = winograd.pack(Weight.of(filters), flip, tile, 4, Store())
        turned = (filters[:, :, ::-1, ::-1] if flip else filters).astype(np.float64)
        u = (winograd.G[tile] @ turned @ winograd.G[tile].T).reshape(5, 3, -1)
        np.testing.assert_allclose(packed[0], u[:4].transpose(2, 1, 0), rtol=1e-7, atol=1e-30)
        np.testing.assert_allclose(packed[1, :, :, :1], u[4:].transpose(2, 1, 0), rtol=1e-7, atol=1e-30)
        assert not packed[1, :, :, 1:].any()


def test_scratch_of_resnet50_is_small():
    for channels, plane in ((64, 56), (128, 28), (256, 14)):
        graph = layer(channels, channels, plane)
        shape = winograd.Shape.of(4, site_of(graph, graph.nodes[-1]), ZEN5)
        assert 4 * shape.area(shape.capacity(1, ZEN5)) < 850_000


def block(channels: int, plane: tuple[int, int], after: bool) -> Graph:
    """Two convolutions; the second adds the input of the first before its activation, or after it."""
    build = Builder()
    x = build.input(channels, *plane)
    first = build("act1", Relu(), build("conv1", Conv2d(channels, 3, padding=(1, 2, 1, 0)), x))
    second = build("conv2", Conv2d(channels, 3, padding=1, bias=False), first)
    if after:
        return build.graph(build("sum", Add(), build("act2", Sigmoid(), second), x))
    return build.graph(build("act2", Silu(), build("sum", Add(), second, x)))


@pytest.mark.parametrize(
    "kernel,after,lanes",
    [(Winograd2, False, 16), (Winograd4, True, 16), (Winograd4, False, 8), (Winograd2, True, 4)],
)
def test_programs(monkeypatch, kernel, after, lanes):
    others = tuple(k for k in kernels() if not isinstance(k, IndirectConv | Winograd2 | Winograd4))
    monkeypatch.setattr(lower_build, "kernels", lambda: (kernel(), *others))
    here = detect()
    target = dataclasses.replace(here, lanes=lanes, registers=here.registers if lanes == here.lanes else 16)
    graph = nbcnn.optimize(block(17, (9, 6), after))
    inputs = inputs_of(graph, 3)
    found = {}
    for threads in (1, 2, 3):
        options = CompileOptions(threads=threads, keep_values=True)
        model = compile_graph(graph, options, target=target)
        assert {c.kernel.name for c in model.choices} == {kernel.name}
        assert max(excesses(model, inputs).values()) <= 1
        found[threads] = model(**inputs)
        for image in range(3):
            alone = model(inputs["x"][image : image + 1])
            np.testing.assert_array_equal(found[threads][image], alone[0])
    np.testing.assert_array_equal(found[2], found[1])
    np.testing.assert_array_equal(found[3], found[1])


@pytest.mark.parametrize("kernel", [Winograd2, Winograd4])
@pytest.mark.parametrize("channels", [16, 64, 300])
def test_errors_use_their_bound(monkeypatch, kernel, channels):
    """The bound is neither broken nor so wide that it would miss a wrong transform."""
    others = tuple(k for k in kernels() if not isinstance(k, IndirectConv | Winograd2 | Winograd4))
    monkeypatch.setattr(lower_build, "kernels", lambda: (kernel(), *others))
    graph = layer(channels, 16, 12)
    model = compile_graph(graph, CompileOptions(threads=1, keep_values=True))
    worst = max(excesses(model, inputs_of(graph, 2)).values())
    assert 0.002 < worst < 0.9
