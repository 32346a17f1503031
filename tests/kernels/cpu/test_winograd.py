"""When Winograd serves a convolution, when it refuses or is not worth it, and what programs with it give."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conformance import excesses, inputs_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Builder

import nbcnn
from nbcnn.ir import Graph, Weight
from nbcnn.kernels.base import Store
from nbcnn.kernels.cpu import kernels, winograd
from nbcnn.kernels.cpu.conv import IndirectConv
from nbcnn.kernels.cpu.winograd import Winograd
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


FAMILY = {k.name: k for k in kernels() if isinstance(k, Winograd)}
OTHERS = tuple(k for k in kernels() if not isinstance(k, IndirectConv | Winograd))
each = pytest.mark.parametrize("name", FAMILY)


def layer(channels: int, filters: int, plane: int, kernel: int | tuple[int, int] = 3, **options) -> Graph:
    build = Builder()
    x = build.input(channels, plane, plane)
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = tuple(k // 2 for k in kernel) * 2
    return build.graph(build("conv", Conv2d(filters, kernel, **{"padding": padding, **options}), x))


def layer_of(kernel: Winograd, channels: int, filters: int, plane: int, **options) -> Graph:
    """A layer that ``kernel`` serves."""
    down, across = kernel.down, kernel.across
    return layer(
        channels, filters, plane, (down.taps, across.taps), stride=(down.stride, across.stride), **options
    )


def refusal(graph: Graph, name: str = "winograd4", **options) -> str | None:
    site = site_of(graph, graph.nodes[-1])
    return FAMILY[name].refuse(site, ZEN5, CompileOptions(**options))


@each
def test_serves_convolutions_of_its_kernel_and_stride(name):
    assert refusal(layer_of(FAMILY[name], 64, 16, 16), name) is None
    assert (
        refusal(layer_of(FAMILY[name], 64, 8, 16, padding=(0, 1, 2, 0), bias=False, flip=True), name) is None
    )


@pytest.mark.parametrize(
    "name,graph,word",
    [
        ("winograd4", layer(16, 16, 8, stride=2), "stride 1"),
        ("winograd4", layer(16, 16, 8, dilation=2), "undilated"),
        ("winograd4", layer(16, 16, 8, groups=2), "grouped"),
        ("winograd4", layer(8, 16, 8), "8 input channels"),
        ("winograd4", layer(16, 16, 8, (3, 1)), "3x3"),
        ("winograd4_s2", layer(16, 16, 8), "stride 2"),
        ("winograd4_s2", layer(16, 16, 8, stride=(2, 1)), "stride 2"),
        ("winograd4_s2", layer(16, 16, 8, (1, 3), stride=2), "3x3"),
        ("winograd2_5x5", layer(16, 16, 8), "5x5"),
        ("winograd4_1x7", layer(16, 16, 8, (7, 1)), "1x7"),
        ("winograd4_7x1", layer(16, 16, 8, 7), "7x1"),
        ("winograd4_1x3", layer(16, 16, 8), "1x3"),
    ],
)
def test_refuses_other_convolutions(name, graph, word):
    assert word in refusal(graph, name)


def test_refuses_other_operators():
    build = Builder()
    x = build.input(16, 8, 8)
    assert "relu" in refusal(build.graph(build("relu", Relu(), x)))


@each
def test_refuses_when_switched_off(name):
    assert "option" in refusal(layer_of(FAMILY[name], 64, 64, 56), name, winograd=False)


def test_refuses_what_it_cannot_finish():
    build = Builder()
    x = build.input(16, 8, 8)
    conv = build("conv", Conv2d(16, 3, padding=1), x)
    graph = nbcnn.optimize(build.graph(build("mul", Mul(), conv, x)))
    assert refusal(graph) is not None


@pytest.mark.parametrize(
    "graph,kernel",
    [
        (layer(64, 64, 56), "winograd4"),
        (layer(128, 128, 28), "winograd4"),
        (layer(256, 256, 14), "winograd4"),
        (layer(512, 512, 7), "winograd2"),
        (layer(512, 512, 28), "winograd4"),
        (layer(512, 512, 14), "winograd4"),
        (layer(16, 64, 55), "winograd4"),
        (layer(64, 256, 13), "winograd4"),
        (layer(512, 512, 2), "igemm"),
        (layer(512, 512, 1), "igemm"),
        (layer(128, 128, 56, stride=2), "winograd4_s2"),
        (layer(256, 256, 28, stride=2), "winograd2_s2"),
        (layer(96, 256, 27, 5), "winograd4_5x5"),
        (layer(64, 192, 27, 5), "winograd4_5x5"),
        (layer(192, 192, 17, (1, 7)), "winograd4_1x7"),
        (layer(192, 192, 17, (7, 1)), "winograd4_7x1"),
    ],
)
def test_is_chosen_where_it_was_measured_faster(graph, kernel):
    site = site_of(graph, graph.nodes[-1])
    (choice,) = assign([contest(site, "N", kernels(), ZEN5, CompileOptions())])
    assert choice.kernel.name == kernel


@each
def test_pack(rng, name):
    down, across = FAMILY[name].down, FAMILY[name].across
    filters = rng.standard_normal((5, 3, down.taps, across.taps)).astype(np.float32)
    for flip in (False, True):
        packed = winograd.pack(Weight.of(filters), flip, down, across, 4, Store())
        turned = (filters[:, :, ::-1, ::-1] if flip else filters).astype(np.float64)
        u = (np.array(down.filter) @ turned @ np.array(across.filter).T).reshape(5, 3, -1)
        np.testing.assert_allclose(packed[0], u[:4].transpose(2, 1, 0), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(packed[1, :, :, :1], u[4:].transpose(2, 1, 0), rtol=1e-7, atol=1e-9)
        assert not packed[1, :, :, 1:].any()


@each
@pytest.mark.parametrize("channels,plane", [(64, 56), (128, 28), (256, 14), (512, 224)])
def test_scratch_is_bounded(name, channels, plane):
    kernel = FAMILY[name]
    graph = layer_of(kernel, channels, channels, plane)
    shape = winograd.Shape.of(kernel.down, kernel.across, site_of(graph, graph.nodes[-1]), ZEN5)
    *_, area = shape.sizes(shape.capacity(8, ZEN5))
    long = 4 * winograd.LONG_CHUNK * shape.points * (channels + shape.nr + 16)
    assert 4 * area < max(2 * ZEN5.l2, 1.2 * long)


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
    "name,after,lanes",
    [
        ("winograd2", False, 16),
        ("winograd4", True, 16),
        ("winograd4", False, 8),
        ("winograd2", True, 4),
        ("winograd6", True, 8),
    ],
)
def test_programs(monkeypatch, name, after, lanes):
    monkeypatch.setattr(lower_build, "kernels", lambda: (FAMILY[name], *OTHERS))
    here = detect()
    target = dataclasses.replace(here, lanes=lanes, registers=here.registers if lanes == here.lanes else 16)
    graph = nbcnn.optimize(block(17, (9, 6), after))
    inputs = inputs_of(graph, 3)
    found = {}
    for threads in (1, 2, 3):
        options = CompileOptions(threads=threads, keep_values=True)
        model = compile_graph(graph, options, target=target)
        assert {c.kernel.name for c in model.choices} == {name}
        assert max(excesses(model, inputs).values()) <= 1
        found[threads] = model(**inputs)
        for image in range(3):
            alone = model(inputs["x"][image : image + 1])
            np.testing.assert_array_equal(found[threads][image], alone[0])
    np.testing.assert_array_equal(found[2], found[1])
    np.testing.assert_array_equal(found[3], found[1])


@each
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_any_geometry(name, data):
    """Odd sizes, paddings and batches, residuals and activations, data over six orders of magnitude."""
    kernel, draw = FAMILY[name], data.draw
    taps, stride = (kernel.down.taps, kernel.across.taps), (kernel.down.stride, kernel.across.stride)
    pads = tuple(draw(st.integers(0, n), label="padding") for n in taps * 2)
    size = [draw(st.integers(n, 21), label="size") for n in taps]
    channels, filters = (
        draw(st.integers(16, 40), label="channels"),
        draw(st.sampled_from((9, 33)), label="filters"),
    )
    tail = draw(st.sampled_from(("", "relu", "sum", "sum silu", "silu sum")), label="tail")
    build = Builder()
    x = build.input(channels, *size)
    y = build("conv", Conv2d(filters, taps, stride, pads, flip=draw(st.booleans(), label="flip")), x)
    extents = [
        (n + p + q - t) // s + 1 for n, p, q, t, s in zip(size, pads, pads[2:], taps, stride, strict=False)
    ]
    for word in tail.split():
        if word == "sum":
            y = build("sum", Add(), y, build.input(filters, *extents, name="z"))
        else:
            y = build(word, {"relu": Relu(), "silu": Silu()}[word], y)
    graph = nbcnn.optimize(build.graph(y))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower_build, "kernels", lambda: (kernel, *OTHERS))
        threads = draw(st.integers(1, 2), label="threads")
        model = compile_graph(graph, CompileOptions(threads=threads, keep_values=True))
    assert model.choices[0].kernel.name == name
    inputs = inputs_of(graph, draw(st.integers(1, 3), label="batch"))
    if draw(st.booleans(), label="wide"):
        scale = 10 ** np.random.default_rng(1).uniform(-3, 3, inputs["x"].shape)
        inputs["x"] = (inputs["x"] * scale).astype(np.float32)
    assert max(excesses(model, inputs).values()) <= 1


@each
@pytest.mark.parametrize("channels", [16, 300])
def test_errors_use_their_bound(monkeypatch, name, channels):
    """The bound is neither broken nor so wide that it would miss a wrong transform."""
    monkeypatch.setattr(lower_build, "kernels", lambda: (FAMILY[name], *OTHERS))
    graph = layer_of(FAMILY[name], channels, 16, 12)
    model = compile_graph(graph, CompileOptions(threads=1, keep_values=True))
    worst = max(excesses(model, inputs_of(graph, 2)).values())
    assert 0.001 < worst < 0.9
